"""What the synthetic world has to be before anybody trains on it, and how fast it is made.

python -m benchmarks.world colours --data WORLD             how far an HSV histogram matcher gets across
cameras python -m benchmarks.world gap --data FOLDER --out RUNS     learned at one site, judged at another: at
severity 0 and 3 python -m benchmarks.world cameras --data FOLDER --out RUNS the same sites, before cameras
that training never sees python -m benchmarks.world backgrounds MODEL --data WORLD   crops without people, and
people before others' backgrounds python -m benchmarks.world speed                            crops a second
beside the bare rasteriser, bytes a crop
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.compare import Comparison, Entry, compare
from training.data import read_dataset
from training.data.market_style import FOLDERS
from training.data.records import Record
from training.evaluate import evaluate, labelled, open_embedder, percentages, score
from training.synthetic import world as worlds
from training.synthetic.paint import jpeg
from training.synthetic.scene import Scene
from training.synthetic.world import World, plan, render, sample


def histograms(crops: np.ndarray) -> np.ndarray:
    """float32 [B,1024]: HSV histograms (16 x 4 x 4) of four stripes of each crop uint8 [B,H,W,3]; square
    roots, unit length."""
    return np.stack([_histogram(crop) for crop in crops])


def _histogram(crop: np.ndarray) -> np.ndarray:
    pixels = np.asarray(Image.fromarray(crop).convert("HSV"), int)
    bins = pixels[..., 0] // 16 * 16 + pixels[..., 1] // 64 * 4 + pixels[..., 2] // 64
    edge = crop.shape[1] // 5
    parts = [np.bincount(stripe.ravel(), minlength=256) for stripe in np.array_split(bins[:, edge:-edge], 4)]
    found = np.sqrt(np.concatenate(parts).astype(np.float32))
    return found / np.linalg.norm(found)


def colours(data: Path, target: str | None) -> dict[str, dict[str, float]]:
    """How far colours alone get at each site of a world, or at another dataset."""
    names = [target] if target else [f"world:{site.name}" for site in sorted(data.glob("site-*"))]
    return {name: percentages(evaluate(histograms, read_dataset(name, data), (128, 64))) for name in names}


def gap(
    data: Path, out: Path, sites: int, identities: int, epochs: int, seeds: list[int], severities: list[int]
) -> dict[str, object]:
    """mAP of BoT learned at each of some sites and judged at each of them, for every severity.

    The gap is wanted: at severity 3 another site's mAP shall be at most 60 % of the own one's, at severity 0
    about all of it.
    """
    found: dict[str, object] = {}
    for severity in severities:
        folder = _sites(data, sites, identities, severity)
        names = [f"world:site-{n}" for n in range(sites)]
        plan = [(own, ",".join(_first(own, names))) for own in names]
        asked = Comparison([Entry(f"gap-{severity}", "bot")], plan, seeds, _settings(epochs), identities)
        found[f"severity {severity}"] = rows = _crossed(compare(asked, folder, out), names, seeds)
        print(severity, rows, flush=True)
    return found


def cameras(
    data: Path, out: Path, sites: int, identities: int, epochs: int, seeds: list[int], severities: list[int]
) -> dict[str, object]:
    """The same before cameras that training never sees: learned before three of a site's five, judged before
    the other two.

    Two sites differ, and so do any two cameras of one site; a site's own unknown cameras are what another
    site is to be held against.
    """
    found: dict[str, object] = {}
    for severity in severities:
        rendered, folder = _sites(data, sites, identities, severity), data / f"cameras-{severity}"
        for n in range(sites):
            _before(rendered / f"site-{n}", folder / f"known-{n}", learned="123", judged="123")
            _before(rendered / f"site-{n}", folder / f"unknown-{n}", learned="123", judged="45")
        names = [f"world:unknown-{n}" for n in range(sites)]
        plan = [(own, ",".join([*_first(own, names), own.replace("unknown", "known")])) for own in names]
        asked = Comparison([Entry(f"cameras-{severity}", "bot")], plan, seeds, _settings(epochs), identities)
        results = compare(asked, folder, out)
        known = np.mean([r["metrics"]["mAP"] for r in results if r["target"].startswith("world:known")])
        found[f"severity {severity}"] = rows = {
            "known cameras' mAP, mean": round(float(known), 1),
            **_crossed(results, names, seeds),
        }
        print(severity, rows, flush=True)
    return found


def _sites(data: Path, sites: int, identities: int, severity: int) -> Path:
    """Sites of that severity, rendered once."""
    render(World(identities, sites, 5, 4, 77, float(severity)), data / f"sites-{severity}")
    return data / f"sites-{severity}"


def _first(own: str, names: list[str]) -> list[str]:
    return [own, *(name for name in names if name != own)]


def _crossed(results: list[dict[str, Any]], names: list[str], seeds: list[int]) -> dict[str, object]:
    """mAP by site learned (rows) and judged (columns), means over seeds; and what another site keeps of it.

    A site may be harder than another whoever was learned from. So each column is held against its own
    diagonal.
    """
    cells = {(r["sources"], r["target"], r["seed"]): r["metrics"]["mAP"] for r in results}
    maps = np.array([[[cells[own, judged, seed] for judged in names] for own in names] for seed in seeds])
    elsewhere = ~np.eye(len(names), dtype=bool)
    mean = maps.mean(0)
    pairs = (mean / mean.diagonal())[elsewhere]
    by_seed = [(one / one.diagonal())[elsewhere].mean() for one in maps]
    share = {"least pair": pairs.min(), "most": pairs.max(), "mean of a seed": np.mean(by_seed)}
    share |= {"deviation over seeds": np.std(by_seed, ddof=1)} if len(by_seed) > 1 else {}
    kept = {name: round(float(value), 3) for name, value in share.items()}
    return {
        "mAP": mean.round(1).tolist(),
        "own site's mAP, mean": round(float(mean.trace()) / len(names), 1),
        "other / own": kept,
    }


def _settings(epochs: int) -> tuple[str, ...]:
    steps = [epochs * 5 // 8, epochs * 7 // 8]
    small = (
        "model.arch=resnet18",
        "precision=32-true",
        "model.height=128",
        "model.width=64",
        "model.ssl_heads=false",
        "augment.pad=5",
        "augment.erase=0.0",
    )
    schedule = (
        f"optimiser.epochs={epochs}",
        f"optimiser.milestones={steps}",
        "optimiser.warmup_epochs=0",
        "optimiser.rate=1.0e-3",
    )
    return (*small, *schedule)


def _before(site: Path, out: Path, learned: str, judged: str) -> None:
    """A site with the crops of some cameras alone, as links."""
    factors = json.loads((site / "factors.json").read_text())
    train, *others = FOLDERS
    wanted = {train: f"_c[{learned}]s", **{folder: f"_c[{judged}]s" for folder in others}}
    factors["crops"] = {
        name: crop
        for name, crop in factors["crops"].items()
        if re.search(wanted[name.partition("/")[0]], name)
    }
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in factors["crops"]:
        if not (out / name).is_symlink():
            (out / name).symlink_to((site / name).resolve())
    (out / "factors.json").write_text(json.dumps(factors))


def backgrounds(model: Path, data: Path, site: int) -> dict[str, float]:
    """Rank-1, percent: as rendered, with nobody in the crops, and with every gallery crop before another
    camera's plates."""
    embed, size, _ = open_embedder(model)
    asked = worlds.claimed(data)
    planned, dataset = plan(asked, site), read_dataset(f"world:site-{site}", data)
    crops = {data / f"site-{site}" / crop.path: crop for crop in planned.crops}
    scene, who = Scene(asked.height, asked.width), functools.partial(worlds.person, asked)

    def again(record: Record, swapped: bool | None) -> np.ndarray:
        crop = crops[record.path]
        moment, camera = sample(asked, planned, crop), planned.cameras[crop.camera]
        if swapped is None:
            pixels = scene.background(planned.site, camera, moment)
        else:
            plates = (
                planned.cameras[(crop.camera + 1 + moment.plate % (asked.cameras - 1)) % asked.cameras]
                if swapped
                else camera
            )
            drawn = scene.clean(who(crop.person), planned.site, camera, moment, who, plates_of=plates)
            pixels = scene.finish(drawn, planned.site, camera, moment)
        return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))

    def embedded(records: list[Record], swapped: bool | None) -> np.ndarray:
        parts = [
            np.stack([again(r, swapped) for r in records[i : i + 64]]) for i in range(0, len(records), 64)
        ]
        return np.concatenate([embed(part) for part in parts])

    everything = [*dataset.query, *dataset.gallery]
    plain, empty = embedded(everything, False), embedded(everything, None)
    swapped = np.concatenate([plain[: len(dataset.query)], embedded(dataset.gallery, True)])
    rows = {
        "as rendered": plain,
        "nobody in the crops": empty,
        "gallery before other backgrounds": swapped,
        "chance": _noise(len(plain)),
    }
    return {name: percentages(score(labelled(dataset, found)))["rank-1"] for name, found in rows.items()}


def _noise(count: int) -> np.ndarray:
    rows = np.random.default_rng(count).normal(size=(count, 64)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def speed(crops: int) -> list[dict[str, object]]:
    """One process: crops a second, the share of it that drawing takes, bytes a crop; by size and
    supersampling."""
    os.environ["LP_NUM_THREADS"] = "1"
    rows = []
    for height, width, supersample in ((128, 64, 1), (256, 128, 1), (256, 128, 2)):
        asked = World(identities=40, sites=1, cameras=4, images=4, height=height, width=width)
        planned, who = plan(asked, 0), functools.partial(worlds.person, asked)
        scene = Scene(height, width, supersample)
        some = planned.crops[: crops + 32]
        seconds, drawing, stored = 0.0, 0.0, 0
        for i, crop in enumerate(some):
            moment, camera = sample(asked, planned, crop), planned.cameras[crop.camera]
            began = time.perf_counter()
            drawn = scene.clean(who(crop.person), planned.site, camera, moment, who)
            then = time.perf_counter()
            content = jpeg(scene.finish(drawn, planned.site, camera, moment), 90)
            if i >= 32:  # plates and the first figures are made by then
                seconds, drawing, stored = (
                    seconds + time.perf_counter() - began,
                    drawing + then - began,
                    stored + len(content),
                )
        rows.append(
            {
                "size": f"{height}x{width}",
                "supersampling": supersample,
                "crops/s": round(crops / seconds, 1),
                "whole crop / drawing alone": round(seconds / drawing, 2),
                "bytes": stored // crops,
            }
        )
        scene.close()
    return rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("colours", "gap", "cameras", "backgrounds", "speed"))
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, default=Path("world"))
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--target", help="of `colours`: a dataset, instead of a world's sites")
    parser.add_argument("--site", type=int, default=0, help="of `backgrounds`")
    parser.add_argument("--sites", type=int, default=3, help="of `gap` and `cameras`")
    parser.add_argument("--identities", type=int, default=400, help="of each site of `gap` and `cameras`")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--severities", type=int, nargs="+", default=[0, 3], help="of `gap` and `cameras`")
    parser.add_argument("--crops", type=int, default=400, help="of `speed`")
    given = parser.parse_args()
    found: object
    if given.what == "colours":
        found = colours(given.data, given.target)
    elif given.what == "gap":
        found = gap(
            given.data, given.out, given.sites, given.identities, given.epochs, given.seeds, given.severities
        )
    elif given.what == "cameras":
        found = cameras(
            given.data, given.out, given.sites, given.identities, given.epochs, given.seeds, given.severities
        )
    elif given.what == "backgrounds":
        found = backgrounds(given.model, given.data, given.site)
    else:
        found = speed(given.crops)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
