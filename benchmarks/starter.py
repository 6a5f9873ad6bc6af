"""From the former demo model's recipe to today's, one change a row, all with the same number of crops.

resight synth --out WORLD --sites 32 --identities 160 --cameras 4 --images 2
resight synth --out HELD --sites 2 --identities 160 --images 3 --seed 1
resight weights convert efficientnet-lite0 --out lite0.safetensors
python -m benchmarks.starter run --world WORLD --held-out HELD --start lite0.safetensors --out FOLDER
    [--data ROOT] [--omz NETWORK.xml...]
python -m benchmarks.starter table FOLDER/rows.jsonl

Every row is judged at the first site of HELD and, with --data, on Market-1501 under ROOT, which judges and
chooses nothing: as trained, and adapted to random crops of its training part without labels. `--crops` is the
budget of a row: 120,000 took ResNet-18 about 20 minutes on two free cores. Finished rows stand in rows.jsonl
and are not computed again; an interrupted row resumes from the checkpoint of its run. Beside the rows stand
the shipped bundles, and Open Model Zoo's networks with --omz: those know Market-1501.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ladder import adapted
from benchmarks.serving import DEMO, ROOT
from benchmarks.sites import Crops, Judge, Subject, TestSite, device
from benchmarks.starter_rows import ABOUT, ROWS, Row, prepared
from benchmarks.streams import without_duplicates
from export.bundle import export_bundle
from reid.adaptation.centring import fit_centres
from reid.bundle import Bundle
from reid.engines import choose_engine
from reid.ranking import RankingScores, rank_embeddings
from training.compare import mean_and_deviation
from training.data import read_dataset
from training.loop import Run
from training.teachers import OpenVinoTeacher

TIERS = ("none", "0", "auto")
SHIPPED = (DEMO, ROOT / "deploy/starter/starter.resight")
Embed = Callable[[np.ndarray], np.ndarray]
_SPEED_CROPS, _TURNS = 32, 7


class Sites:
    """What judges: a rendered site that nothing was trained on, and Market-1501 where there is one."""

    def __init__(self, held_out: Path, market1501: Path | None, most_gallery: int) -> None:
        self.places = {"held-out": ("world:site-0", held_out)}
        if market1501 is not None:
            self.places["market1501"] = ("market1501", market1501)
        self.most_gallery = most_gallery
        self.size: tuple[int, int] | None = None
        self.sites: list[TestSite] = []

    def read(self, size: tuple[int, int]) -> list[TestSite]:
        """Every site, its crops at a size; those of the last size are kept."""
        if size != self.size:
            self.size = size
            self.sites = [
                TestSite.read(name, read_dataset(dataset, root), size, self.most_gallery)
                for name, (dataset, root) in self.places.items()
            ]
        return self.sites


def scores_of_bundle(bundle: Bundle, sites: Sites, count: int, seed: int) -> dict[str, Any]:
    """mAP and rank-1 in percent by site and tiers; for `auto` also what the gate said."""
    subject = Subject(bundle, device())
    values: dict[str, Any] = {}
    for site in sites.read(subject.size):
        judge, crops = Judge(subject, site), without_duplicates(site.sample(count, seed))
        values[site.name] = {}
        for tiers in TIERS:
            profile, reasons = adapted(subject, tiers, crops)
            values[site.name][tiers] = _percent(judge.score(profile)) | ({"gate": reasons} if reasons else {})
    return values


def scores_of_network(network: OpenVinoTeacher, sites: Sites, count: int, seed: int) -> dict[str, Any]:
    """The same of a foreign network: as it is and centred by camera; its statistics are its own affair."""
    embed = _embed(network)
    values = {}
    for site in sites.read(network.size):
        sample = without_duplicates(site.sample(count, seed))
        centres = fit_centres(_all(embed, sample), list(sample.cameras))
        query, gallery = _all(embed, site.query), _all(embed, site.gallery)
        centred = [
            centres.compare(vectors, list(crops.cameras))
            for vectors, crops in ((query, site.query), (gallery, site.gallery))
        ]
        values[site.name] = {"none": _ranked(site, query, gallery), "0": _ranked(site, *centred)}
    return values


def _ranked(site: TestSite, query: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
    asked, stored = (np.array([int(c[1:]) for c in part.cameras]) for part in (site.query, site.gallery))
    return _percent(rank_embeddings(query, gallery, site.query.pids, site.gallery.pids, asked, stored))


def _percent(scores: RankingScores) -> dict[str, float]:
    return {"mAP": round(100 * scores.mean_ap, 2), "rank-1": round(100 * scores.rank(1), 2)}


def _embed(network: OpenVinoTeacher) -> Embed:
    def embed(crops: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3] -> float32 [B,D], unit length."""
        features = network(torch.from_numpy(np.ascontiguousarray(crops)))
        return torch.nn.functional.normalize(features, dim=1).numpy()

    return embed


def _all(embed: Embed, crops: Crops, batch: int = 64) -> np.ndarray:
    return np.concatenate([embed(crops.pixels[i : i + batch]) for i in range(0, len(crops), batch)])


def speed(embed: Embed, size: tuple[int, int]) -> tuple[float, float]:
    """Crops a second, and as a share of the shipped demo's: both in turn, the fastest of each counts."""
    demo = Bundle.load(DEMO)
    shape_of_demo = (demo.manifest.height, demo.manifest.width)
    pairs = {"this": (embed, size), "demo": (choose_engine(demo).embed, shape_of_demo)}
    best: dict[str, float] = {}
    rng = np.random.default_rng(0)
    for _ in range(_TURNS):
        for name, (run, shape) in pairs.items():
            crops = rng.integers(0, 255, (_SPEED_CROPS, *shape, 3), np.uint8)
            began = time.perf_counter()
            run(crops)
            best[name] = min(best.get(name, np.inf), time.perf_counter() - began)
    return _SPEED_CROPS / best["this"], best["demo"] / best["this"]


def train(row: Row, seed: int, options: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """Trains a row, or what is left of it, and exports it; the bundle and what the result says of the run."""
    runs, began = options.out / "runs", time.monotonic()
    sites = (options.sites, options.few)
    recipe, dataset = prepared(row, seed, options.crops, options.world, sites, options.start, runs)
    name = f"{row.name.replace(' ', '-')}-{seed}"
    run = Run(recipe, dataset, runs / name)
    run.fit(checkpoint_minutes=2)
    seen = len(run.sampler) * recipe.batch_identities * recipe.batch_crops * recipe.optimiser.epochs
    bundle = options.out / "bundles" / f"{name}.resight"
    bundle.parent.mkdir(exist_ok=True)
    export_bundle(runs / name, bundle, licence="a measurement's, not to be shipped", half=True, force=True)
    return bundle, {
        "crops": seen,
        "people": sum(dataset.identities()),
        "epochs": recipe.optimiser.epochs,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "recipe": dataclasses.asdict(recipe),
    }


def run(options: argparse.Namespace) -> None:
    """Computes what is missing in rows.jsonl."""
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "rows.jsonl"
    done = set()
    if results.exists():
        for line in results.read_text().splitlines():
            kept = json.loads(line)
            if kept["budget"] not in (None, options.crops):
                raise SystemExit(f"{results} has rows of {kept['budget']} crops; choose another --out")
            done.add((kept["row"], kept["seed"]))
    sites = Sites(options.held_out, options.data, options.most_gallery)
    for result in _missing(options, sites, done):
        result["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads, {device()}"
        with results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(result["row"], result["seed"], json.dumps(result["scores"]), flush=True)


def _missing(
    options: argparse.Namespace, sites: Sites, done: set[tuple[str, int]]
) -> Iterator[dict[str, Any]]:
    """One result after the other: rows of the ladder, shipped bundles, foreign networks."""
    for seed in options.seeds:
        for row in ROWS:
            if row.name not in options.rows or (row.name, seed) in done:
                continue
            path, facts = train(row, seed, options)
            yield _of_bundle(path, row.name, seed, options, sites) | facts | {"budget": options.crops}
    for path in options.bundles:
        if (path.name, 0) not in done:
            yield _of_bundle(path, path.name, 0, options, sites)
    for path in options.omz:
        if (path.stem, 0) not in done:
            network = OpenVinoTeacher(path)
            rate, share = speed(_embed(network), network.size)
            scores = scores_of_network(network, sites, options.adapt_crops, 0)
            yield _result(path.stem, 0, scores, rate, share)


def _of_bundle(path: Path, name: str, seed: int, options: argparse.Namespace, sites: Sites) -> dict[str, Any]:
    bundle = Bundle.load(path)
    rate, share = speed(choose_engine(bundle).embed, (bundle.manifest.height, bundle.manifest.width))
    return _result(name, seed, scores_of_bundle(bundle, sites, options.adapt_crops, seed), rate, share)


def _result(name: str, seed: int, scores: dict[str, Any], rate: float, share: float) -> dict[str, Any]:
    values = {"crops_per_s": round(rate, 1), "share_of_demo": round(share, 2)}
    return {"row": name, "seed": seed, "scores": scores, "budget": None} | values


def table(options: argparse.Namespace) -> None:
    """Prints Markdown: mAP (rank-1), mean ± deviation over the seeds."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in options.rows.read_text().splitlines():
        result = json.loads(line)
        groups[result["row"]].append(result)
    sites = list(dict.fromkeys(site for rows in groups.values() for row in rows for site in row["scores"]))
    columns = [(site, tiers) for site in sites for tiers in TIERS]
    heads = [f"{site}, {tiers}" for site, tiers in columns]
    print("| row | change | people | " + " | ".join(heads) + " | crops/s, demo = 1 | minutes |")
    print("| --- " * (len(heads) + 5) + "|")
    for name, rows in groups.items():
        cells = [_cell(rows, site, tiers) for site, tiers in columns]
        last = [f"{np.mean([row['share_of_demo'] for row in rows]):.2f}"]
        minutes = [row["minutes"] for row in rows if "minutes" in row]
        last.append(f"{np.mean(minutes):.0f}" if minutes else "")
        print(
            "| "
            + " | ".join([name, ABOUT.get(name, ""), str(rows[0].get("people", "")), *cells, *last])
            + " |"
        )


def _cell(rows: Sequence[dict[str, Any]], site: str, tiers: str) -> str:
    scores = [row["scores"][site][tiers] for row in rows if tiers in row["scores"].get(site, {})]
    if not scores:
        return ""
    return f"{mean_and_deviation([s['mAP'] for s in scores])} ({np.mean([s['rank-1'] for s in scores]):.1f})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    running = verbs.add_parser("run")
    names = [row.name for row in ROWS]
    running.add_argument("--world", type=Path, required=True, help="to train on")
    running.add_argument("--held-out", type=Path, required=True, help="a world of another seed, to judge by")
    running.add_argument("--data", type=Path, help="the root of datasets, or Market-1501's folder")
    running.add_argument("--start", type=Path, required=True, help="ImageNet's weights, as .safetensors")
    running.add_argument("--out", type=Path, required=True)
    running.add_argument(
        "--crops", type=int, default=120_000, help="that each row is trained on, repeats too"
    )
    running.add_argument("--sites", type=int, default=32, help="of the world")
    running.add_argument("--few", type=int, default=8, help="sites of the rows before `people`")
    running.add_argument("--seeds", type=int, nargs="+", default=[0])
    running.add_argument("--rows", nargs="*", default=names, choices=names, metavar="ROW")
    running.add_argument("--bundles", type=Path, nargs="*", default=list(SHIPPED))
    running.add_argument("--omz", type=Path, nargs="*", default=[], help="OpenVINO networks (.xml)")
    running.add_argument("--adapt-crops", type=int, default=128, help="a camera, to adapt to")
    running.add_argument("--most-gallery", type=int, default=10**9, help="crops of a gallery")
    running.set_defaults(run=run)
    printing = verbs.add_parser("table")
    printing.add_argument("rows", type=Path)
    printing.set_defaults(run=table)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
