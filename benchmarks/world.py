"""What the synthetic world has to be before anybody trains on it, and how fast it is made.

python -m benchmarks.world colours --data WORLD             how far an HSV histogram matcher gets across cameras
python -m benchmarks.world gap --data FOLDER --out RUNS     one source, another site: at severity 0 and 3
python -m benchmarks.world cameras --data FOLDER --out RUNS the same pairs, before cameras that training never sees
python -m benchmarks.world backgrounds MODEL --data WORLD   crops without people, and people before others' backgrounds
python -m benchmarks.world speed                            crops a second beside the bare rasteriser, bytes a crop
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import time
from pathlib import Path

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
    """float32 [B,1024]: HSV histograms (16 x 4 x 4) of four stripes of each crop uint8 [B,H,W,3]; square roots, unit length."""
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


def gap(data: Path, out: Path, identities: int, epochs: int, seeds: list[int], severities: list[int]) -> dict[str, object]:
    """mAP of BoT learned at site 0, at site 0 and at site 1, for a pair of sites of each severity.

    The gap is wanted: at severity 3 the other site's mAP shall be at most 60 % of the own one's, at severity 0 about all of it.
    """
    found: dict[str, object] = {}
    for severity in severities:
        folder = _pair(data, identities, severity)
        plan = [("world:site-0", "world:site-0,world:site-1")]
        maps = _maps(Comparison([Entry(f"gap-{severity}", "bot")], plan, seeds, _settings(epochs), identities), folder, out)
        rows = [{"own": own, "other": other, "other / own": round(other / own, 3)} for own, other in zip(*maps, strict=True)]
        print(severity, rows, flush=True)
        found[f"severity {severity}"] = rows
    return found


def cameras(data: Path, out: Path, identities: int, epochs: int, seeds: list[int], severities: list[int]) -> dict[str, object]:
    """mAP of BoT learned before three of site 0's five cameras: there, before the other two, and before site 1's same two.

    Two sites differ, and so do any two cameras of one site; the other two cameras are what the other site is to be held against.
    """
    found: dict[str, object] = {}
    names = ("known", "unknown", "other")
    for severity in severities:
        pair, folder = _pair(data, identities, severity), data / f"cameras-{severity}"
        for name, site, judged in zip(names, (0, 0, 1), ("123", "45", "45"), strict=True):
            _before(pair / f"site-{site}", folder / name, learned="123", judged=judged)
        plan = [("world:known", ",".join(f"world:{name}" for name in names))]
        maps = _maps(Comparison([Entry(f"cameras-{severity}", "bot")], plan, seeds, _settings(epochs), identities), folder, out)
        rows = [
            {"known cameras": known, "unknown cameras": unknown, "other site": other, "other / unknown": round(other / unknown, 3)}
            for known, unknown, other in zip(*maps, strict=True)
        ]
        print(severity, rows, flush=True)
        found[f"severity {severity}"] = rows
    return found


def _pair(data: Path, identities: int, severity: int) -> Path:
    """Two sites of that severity, rendered once."""
    render(World(identities, 2, 5, 4, 77, float(severity)), data / f"pair-{severity}")
    return data / f"pair-{severity}"


def _settings(epochs: int) -> tuple[str, ...]:
    steps = [epochs * 5 // 8, epochs * 7 // 8]
    small = ("model.arch=resnet18", "model.height=128", "model.width=64", "model.ssl_heads=false", "augment.pad=5", "augment.erase=0.0")
    schedule = (f"optimiser.epochs={epochs}", f"optimiser.milestones={steps}", "optimiser.warmup_epochs=1", "optimiser.rate=1.0e-3")
    return (*small, *schedule)


def _maps(asked: Comparison, folder: Path, out: Path) -> list[list[float]]:
    """mAP by target and seed."""
    results = compare(asked, folder, out)
    return [[r["metrics"]["mAP"] for r in results if r["target"] == target] for target in asked.plan[0][1].split(",")]


def _before(site: Path, out: Path, learned: str, judged: str) -> None:
    """A site with the crops of some cameras alone, as links."""
    factors = json.loads((site / "factors.json").read_text())
    train, *others = FOLDERS
    wanted = {train: f"_c[{learned}]s", **{folder: f"_c[{judged}]s" for folder in others}}
    factors["crops"] = {name: crop for name, crop in factors["crops"].items() if re.search(wanted[name.partition("/")[0]], name)}
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in factors["crops"]:
        if not (out / name).is_symlink():
            (out / name).symlink_to((site / name).resolve())
    (out / "factors.json").write_text(json.dumps(factors))


def backgrounds(model: Path, data: Path, site: int) -> dict[str, float]:
    """Rank-1, percent: as rendered, with nobody in the crops, and with every gallery crop before another camera's plates."""
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
            plates = planned.cameras[(crop.camera + 1 + moment.plate % (asked.cameras - 1)) % asked.cameras] if swapped else camera
            drawn = scene.clean(who(crop.person), planned.site, camera, moment, who, plates_of=plates)
            pixels = scene.finish(drawn, planned.site, camera, moment)
        return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))

    def embedded(records: list[Record], swapped: bool | None) -> np.ndarray:
        parts = [np.stack([again(r, swapped) for r in records[i : i + 64]]) for i in range(0, len(records), 64)]
        return np.concatenate([embed(part) for part in parts])

    everything = [*dataset.query, *dataset.gallery]
    plain, empty = embedded(everything, False), embedded(everything, None)
    swapped = np.concatenate([plain[: len(dataset.query)], embedded(dataset.gallery, True)])
    rows = {"as rendered": plain, "nobody in the crops": empty, "gallery before other backgrounds": swapped, "chance": _noise(len(plain))}
    return {name: percentages(score(labelled(dataset, found)))["rank-1"] for name, found in rows.items()}


def _noise(count: int) -> np.ndarray:
    rows = np.random.default_rng(count).normal(size=(count, 64)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def speed(crops: int) -> list[dict[str, object]]:
    """One process: crops a second, the share of it that drawing takes, bytes a crop; by size and supersampling."""
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
                seconds, drawing, stored = seconds + time.perf_counter() - began, drawing + then - began, stored + len(content)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("colours", "gap", "cameras", "backgrounds", "speed"))
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, default=Path("world"))
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--target", help="of `colours`: a dataset, instead of a world's sites")
    parser.add_argument("--site", type=int, default=0, help="of `backgrounds`")
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
        found = gap(given.data, given.out, given.identities, given.epochs, given.seeds, given.severities)
    elif given.what == "cameras":
        found = cameras(given.data, given.out, given.identities, given.epochs, given.seeds, given.severities)
    elif given.what == "backgrounds":
        found = backgrounds(given.model, given.data, given.site)
    else:
        found = speed(given.crops)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
