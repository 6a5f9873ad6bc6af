"""Recipes beside each other: trained on the same sources with the same seeds, evaluated on the same targets,
one table."""

from __future__ import annotations

import dataclasses
import json
import platform
import shlex
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from training.data import read_dataset
from training.data.records import Dataset, DatasetError
from training.evaluate import embed_dataset, open_embedder, percentages, score
from training.loop import Run
from training.recipe import RecipeError, load_recipe

METRICS = ("mAP", "rank-1", "rank-5", "mINP")


class Entry(NamedTuple):
    """One row of the table: a recipe and what it changes. `{runs}`, `{target}` and `{seed}` in a setting are
    filled in."""

    name: str
    recipe: str
    settings: tuple[str, ...] = ()


class Comparison(NamedTuple):
    """What is trained on what and judged by what."""

    entries: Sequence[Entry]
    plan: Sequence[
        tuple[str, str]
    ]  # (sources joined by +, target, or several targets of one run joined by commas)
    seeds: Sequence[int] = (0,)
    settings: tuple[str, ...] = ()  # for every entry
    identities: int | None = None  # learn from the first so many of each source, to fit a small budget


def leave_one_out(datasets: Sequence[str]) -> list[tuple[str, str]]:
    """Every dataset is the target once, the others are the sources. Raises DatasetError for fewer than
    two."""
    if len(datasets) < 2:
        raise DatasetError("leaving one out takes at least two datasets, joined like market1501:A+folders:B")
    return [("+".join(d for d in datasets if d != target), target) for target in datasets]


def compare(
    asked: Comparison, root: Path, out: Path, tell: Callable[[dict[str, Any]], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Trains and evaluates everything; `tell` hears of every result.

    Each run has its folder under `out`, and its result stands there as `result.json`; what is there already
    is not done again, and a run that was interrupted goes on. `out/results.json` holds all results. The last
    epoch counts: nothing is chosen by the target.
    """
    results = []
    for sources, targets in asked.plan:
        for entry in asked.entries:
            for seed in asked.seeds:
                for result in _one(asked, entry, sources, targets.split(","), seed, root, out):
                    results.append(result)
                    tell(result)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    return results


def _one(
    asked: Comparison, entry: Entry, sources: str, targets: Sequence[str], seed: int, root: Path, out: Path
) -> Iterator[dict[str, Any]]:
    """One run, judged by every target. Its minutes stand with the first one."""
    stem = _plain(targets[0])
    folder = out / f"{_plain(entry.name)}-{stem}-{seed}"
    filled = [
        s.replace("{runs}", str(out)).replace("{target}", stem).replace("{seed}", str(seed))
        for s in entry.settings
    ]
    recipe = load_recipe(entry.recipe, [*asked.settings, *filled, f"seed={seed}", f"dataset={sources}"])
    plain = json.loads(json.dumps(recipe.to_dict()))
    changed = " ".join(
        f"--set {shlex.quote(s)}"
        for s in [*asked.settings, *entry.settings, f"seed={seed}", f"dataset={sources}"]
    )
    crops, minutes = None, 0.0
    for target in targets:
        known = folder / ("result.json" if target == targets[0] else f"result-{_plain(target)}.json")
        if known.is_file():
            result: dict[str, Any] = json.loads(known.read_text())
            if result["recipe"] != plain or result["identities"] != asked.identities:
                raise RecipeError(f"{known} is of another recipe; choose another --out")
            crops = result["crops"]
            yield result
            continue
        if crops is None:
            dataset = _first(read_dataset(sources, root, recipe.split, recipe.all_images), asked.identities)
            crops, began = len(dataset.train), time.monotonic()
            Run(recipe, dataset, folder).fit()
            minutes = (time.monotonic() - began) / 60
        embed, size, what = open_embedder(folder)
        scores = score(embed_dataset(embed, read_dataset(target, root, recipe.split), size))
        result = {
            "name": entry.name,
            "sources": sources,
            "target": target,
            "seed": seed,
            "metrics": percentages(scores),
            "queries": scores.queries,
            "identities": asked.identities,
            "crops": crops,
            "minutes": round(minutes, 1),
            "machine": f"{what}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python "
            f"{platform.python_version()}",
            "command": f"resight train {entry.recipe} {changed}",
            "recipe": plain,
        }
        minutes = 0.0
        known.write_text(json.dumps(result, indent=1) + "\n")
        yield result


def table(
    results: Sequence[dict[str, Any]], metrics: Sequence[str] = ("mAP", "rank-1")
) -> list[tuple[str, ...]]:
    """Rows (target, name, seeds, mean ± sample deviation of each metric over the seeds), in the order of the
    results."""
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for result in results:
        groups.setdefault((result["target"], result["name"]), []).append(result["metrics"])
    return [
        (
            target,
            name,
            str(len(found)),
            *(mean_and_deviation([m[metric] for m in found]) for metric in metrics),
        )
        for (target, name), found in groups.items()
    ]


def mean_and_deviation(values: Sequence[float]) -> str:
    """'12.3 ± 0.4', or '12.3' for a single value."""
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def _first(dataset: Dataset, identities: int | None) -> Dataset:
    if identities is None:
        return dataset
    kept: dict[int, list[int]] = {}
    for domain, pid in sorted({(r.domain, r.pid) for r in dataset.train}):
        kept.setdefault(domain, []).append(pid)
    some = {(domain, pid) for domain, pids in kept.items() for pid in pids[:identities]}
    return dataclasses.replace(dataset, train=[r for r in dataset.train if (r.domain, r.pid) in some])


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)
