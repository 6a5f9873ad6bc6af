"""What the synthetic world has to be before anybody trains on it, and how fast it is rendered.

python -m benchmarks.world colours --data WORLD
    how well an HSV histogram matcher ranks across cameras
python -m benchmarks.world gap --data FOLDER --out RUNS
    trained on one site, evaluated on another, at severities 0 and 3
python -m benchmarks.world cameras --data FOLDER --out RUNS
    the same, evaluated on cameras that training never sees
python -m benchmarks.world backgrounds MODEL --data WORLD
    crops without people, and people in front of other cameras' backgrounds
python -m benchmarks.world speed
    crops a second beside the bare rasteriser, and bytes of a crop
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

from reid.batches import in_batches
from training.compare import Comparison, Entry, compare
from training.data import read_dataset
from training.data.market_style import FOLDERS
from training.data.records import Record
from training.evaluate import evaluate, labelled, open_embedder, percentages, query_counts, score
from training.synthetic import world as worlds
from training.synthetic.paint import jpeg
from training.synthetic.scene import Scene
from training.synthetic.world import World, plan, render, sample


def histograms(crops: np.ndarray) -> np.ndarray:
    """float32 [B,1024]: HSV histograms (16 x 4 x 4) of four stripes of each crop uint8 [B,H,W,3].

    Square roots, of unit length.
    """
    return np.stack([_histogram(crop) for crop in crops])


def _histogram(crop: np.ndarray) -> np.ndarray:
    pixels = np.asarray(Image.fromarray(crop).convert("HSV"), int)
    bins = pixels[..., 0] // 16 * 16 + pixels[..., 1] // 64 * 4 + pixels[..., 2] // 64
    edge = crop.shape[1] // 5
    parts = [np.bincount(stripe.ravel(), minlength=256) for stripe in np.array_split(bins[:, edge:-edge], 4)]
    histogram = np.sqrt(np.concatenate(parts).astype(np.float32))
    return histogram / np.linalg.norm(histogram)


def colours(data: Path, target: str | None) -> dict[str, dict[str, float]]:
    """Scores of colours alone at each site of a world, or on another dataset."""
    names = [target] if target else [f"world:{site.name}" for site in sorted(data.glob("site-*"))]
    scores = {name: evaluate(histograms, read_dataset(name, data), (128, 64)) for name in names}
    return {name: {**percentages(score), **query_counts(score)} for name, score in scores.items()}


def gap(
    data: Path, out: Path, sites: int, identities: int, epochs: int, seeds: list[int], severities: list[int]
) -> dict[str, object]:
    """mAP of BoT trained on each site and evaluated on each of them, for every severity.

    A gap between sites is the aim: at severity 3 the mAP on another site should be at most 60 % of that of a
    model trained there, at severity 0 about all of it.
    """
    by_severity: dict[str, object] = {}
    for severity in severities:
        folder = _sites(data, sites, identities, severity)
        names = [f"world:site-{n}" for n in range(sites)]
        plan = [(name, ",".join(_first(name, names))) for name in names]
        comparison = Comparison([Entry(f"gap-{severity}", "bot")], plan, seeds, _settings(epochs), identities)
        by_severity[f"severity {severity}"] = rows = _crossed(compare(comparison, folder, out), names, seeds)
        print(severity, rows, flush=True)
    return by_severity


def cameras(
    data: Path, out: Path, sites: int, identities: int, epochs: int, seeds: list[int], severities: list[int]
) -> dict[str, object]:
    """As `gap`, trained on three of a site's five cameras and evaluated on the other two.

    Two sites differ, and so do any two cameras of one site; another site has to be compared with the own
    site's unknown cameras.
    """
    by_severity: dict[str, object] = {}
    for severity in severities:
        rendered, folder = _sites(data, sites, identities, severity), data / f"cameras-{severity}"
        for n in range(sites):
            _with_cameras(rendered / f"site-{n}", folder / f"known-{n}", trained="123", evaluated="123")
            _with_cameras(rendered / f"site-{n}", folder / f"unknown-{n}", trained="123", evaluated="45")
        names = [f"world:unknown-{n}" for n in range(sites)]
        plan = [(name, ",".join([*_first(name, names), name.replace("unknown", "known")])) for name in names]
        comparison = Comparison(
            [Entry(f"cameras-{severity}", "bot")], plan, seeds, _settings(epochs), identities
        )
        results = compare(comparison, folder, out)
        known = np.mean([r["metrics"]["mAP"] for r in results if r["target"].startswith("world:known")])
        by_severity[f"severity {severity}"] = rows = {
            "known cameras' mAP, mean": round(float(known), 1),
            **_crossed(results, names, seeds),
        }
        print(severity, rows, flush=True)
    return by_severity


def _sites(data: Path, sites: int, identities: int, severity: int) -> Path:
    """Folder of the sites of that severity, rendered once."""
    render(World(identities, sites, 5, 4, 77, float(severity)), data / f"sites-{severity}")
    return data / f"sites-{severity}"


def _first(first: str, names: list[str]) -> list[str]:
    return [first, *(name for name in names if name != first)]


def _crossed(results: list[dict[str, Any]], names: list[str], seeds: list[int]) -> dict[str, object]:
    """mAP by training site (rows) and evaluation site (columns), means over seeds, and the ratio of both.

    A site may be harder than another for every model, so each column is compared with its own diagonal.
    """
    cells = {(r["sources"], r["target"], r["seed"]): r["metrics"]["mAP"] for r in results}
    maps = np.empty((len(seeds), len(names), len(names)))
    for s, seed in enumerate(seeds):
        for row, source in enumerate(names):
            for column, target in enumerate(names):
                maps[s, row, column] = cells[source, target, seed]
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


def _with_cameras(site: Path, out: Path, trained: str, evaluated: str) -> None:
    """A site with the crops of some cameras only, as links."""
    factors = json.loads((site / "factors.json").read_text())
    train, *others = FOLDERS
    patterns = {train: f"_c[{trained}]s", **{folder: f"_c[{evaluated}]s" for folder in others}}
    crops = {}
    for name, crop in factors["crops"].items():
        if re.search(patterns[name.partition("/")[0]], name):
            crops[name] = crop
    factors["crops"] = crops
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in factors["crops"]:
        if not (out / name).is_symlink():
            (out / name).symlink_to((site / name).resolve())
    (out / "factors.json").write_text(json.dumps(factors))


def backgrounds(model: Path, data: Path, site: int) -> dict[str, float]:
    """Rank-1, percent: as rendered, without people, and with gallery crops on another camera's plates."""
    embed, size, _ = open_embedder(model)
    rendered = worlds.claimed(data)
    planned, dataset = plan(rendered, site), read_dataset(f"world:site-{site}", data)
    crops = {data / f"site-{site}" / crop.path: crop for crop in planned.crops}
    scene, who = Scene(rendered.height, rendered.width), functools.partial(worlds.person, rendered)

    def again(record: Record, swapped: bool | None) -> np.ndarray:
        crop = crops[record.path]
        moment, camera = sample(rendered, planned, crop), planned.cameras[crop.camera]
        if swapped is None:
            pixels = scene.background(planned.site, camera, moment)
        else:
            plates = camera
            if swapped:
                other = crop.camera + 1 + moment.plate % (rendered.cameras - 1)
                plates = planned.cameras[other % rendered.cameras]
            drawn = scene.clean(who(crop.person), planned.site, camera, moment, who, plates_of=plates)
            pixels = scene.finish(drawn, planned.site, camera, moment)
        return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))

    def embedded(records: list[Record], swapped: bool | None) -> np.ndarray:
        def compute(rows: slice) -> np.ndarray:
            return embed(np.stack([again(record, swapped) for record in records[rows]]))

        return in_batches(len(records), compute)

    everything = [*dataset.query, *dataset.gallery]
    plain, empty = embedded(everything, False), embedded(everything, None)
    swapped = np.concatenate([plain[: len(dataset.query)], embedded(dataset.gallery, True)])
    rows = {
        "as rendered": plain,
        "nobody in the crops": empty,
        "gallery before other backgrounds": swapped,
        "chance": _noise(len(plain)),
    }
    return {
        name: percentages(score(labelled(dataset, embeddings)))["rank-1"] for name, embeddings in rows.items()
    }


def _noise(count: int) -> np.ndarray:
    rows = np.random.default_rng(count).normal(size=(count, 64)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def speed(crops: int) -> list[dict[str, object]]:
    """Of one process: crops a second, the share of drawing in it, bytes a crop; by size and supersampling."""
    os.environ["LP_NUM_THREADS"] = "1"
    rows = []
    for height, width, supersample in ((128, 64, 1), (256, 128, 1), (256, 128, 2)):
        world = World(identities=40, sites=1, cameras=4, images=4, height=height, width=width)
        planned, who = plan(world, 0), functools.partial(worlds.person, world)
        scene = Scene(height, width, supersample)
        seconds, drawing, stored = 0.0, 0.0, 0
        for i, crop in enumerate(planned.crops[: crops + 32]):
            moment, camera = sample(world, planned, crop), planned.cameras[crop.camera]
            began = time.perf_counter()
            drawn = scene.clean(who(crop.person), planned.site, camera, moment, who)
            then = time.perf_counter()
            content = jpeg(scene.finish(drawn, planned.site, camera, moment), 90)
            if i >= 32:  # plates and the first figures are made by then
                seconds += time.perf_counter() - began
                drawing += then - began
                stored += len(content)
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
    options = parser.parse_args()
    result: object
    run = (options.sites, options.identities, options.epochs, options.seeds, options.severities)
    if options.what == "colours":
        result = colours(options.data, options.target)
    elif options.what == "gap":
        result = gap(options.data, options.out, *run)
    elif options.what == "cameras":
        result = cameras(options.data, options.out, *run)
    elif options.what == "backgrounds":
        result = backgrounds(options.model, options.data, options.site)
    else:
        result = speed(options.crops)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
