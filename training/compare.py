"""Compares recipes: trained on the same sources with the same seeds, evaluated on the same targets."""

from __future__ import annotations

import dataclasses
import itertools
import json
import platform
import shlex
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from reid.engines import Device
from reid.engines.pytorch import torch_device
from training.data import read_dataset, read_training
from training.data.matches import require_matches
from training.data.records import Dataset, DatasetError
from training.data.selection import judged_crops
from training.evaluate import embed_dataset, open_embedder, percentages, query_counts, score, scored
from training.loop import Run
from training.recipe import Recipe, RecipeError, load_recipe, recipe_from_dict
from training.start import require_start
from training.validation import named_validation

METRICS = ("mAP", "rank-1", "rank-5", "mINP")


class Entry(NamedTuple):
    """One row of the table: a recipe and what it changes.

    `{runs}`, `{target}` and `{seed}` in a setting are filled in.
    """

    name: str
    recipe: str
    settings: tuple[str, ...] = ()


class Comparison(NamedTuple):
    """What is trained on, and what is evaluated on."""

    entries: Sequence[Entry]
    # (sources joined by +, target), or several targets of one run joined by commas
    plan: Sequence[tuple[str, str]]
    seeds: Sequence[int] = (0,)
    settings: tuple[str, ...] = ()  # for every entry
    identities: int | None = None  # train on the first so many of each source only
    ignore_cameras: bool = False  # in evaluation, whether matches of the query's own camera count
    device: Device = "auto"  # that trains and embeds


def leave_one_out(datasets: Sequence[str]) -> list[tuple[str, str]]:
    """Every dataset is the target once, the others are the sources.

    Raises DatasetError for fewer than two.
    """
    if len(datasets) < 2:
        raise DatasetError("leave-one-out needs at least two datasets, joined like market1501:A+folders:B")
    return [("+".join(d for d in datasets if d != target), target) for target in datasets]


def compare(
    comparison: Comparison, root: Path, out: Path, report: Callable[[dict[str, Any]], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Trains and evaluates everything; `report` is called with every result.

    Each run has its folder under `out`, with its result in `result.json`. A result that exists is not
    computed again, and an interrupted run resumes. `out/results.json` holds all results. The last epoch
    counts: no checkpoint is selected on the target.

    Raises RecipeError, DatasetError and EngineError for what is known to fail before the first run, and
    what `Run` raises.
    """
    _require_all(comparison, root, out)
    results = []
    for sources, targets in comparison.plan:
        for entry in comparison.entries:
            for seed in comparison.seeds:
                for result in _one(comparison, entry, sources, targets.split(","), seed, root, out):
                    results.append(result)
                    report(result)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    return results


def _one(
    comparison: Comparison,
    entry: Entry,
    sources: str,
    targets: Sequence[str],
    seed: int,
    root: Path,
    out: Path,
) -> Iterator[dict[str, Any]]:
    """One run, evaluated on every target. Its minutes stand in the first result only."""
    folder = _folder(out, entry, targets, seed)
    recipe = _recipe(comparison, entry, sources, targets, seed, out)
    plain = json.loads(json.dumps(recipe.to_dict()))  # as the files hold it
    settings = [*comparison.settings, *entry.settings, f"seed={seed}", f"dataset={sources}"]
    changed = " ".join(f"--set {shlex.quote(setting)}" for setting in settings)
    crops, minutes = None, 0.0
    for target in targets:
        path = _result_path(folder, targets, target)
        if path.is_file():
            result = _read_result(path, comparison, recipe)
            crops = result["crops"]
            yield result
            continue
        if crops is None:
            for other in targets:  # what cannot be evaluated is said before hours of training
                require_matches(_judged(comparison, recipe, other, root))
            dataset = _first(
                read_training(sources, root, recipe.split, recipe.pattern, recipe.selection()),
                comparison.identities,
            )
            crops, began = len(dataset.train), time.monotonic()
            Run(recipe, dataset, folder, named_validation(recipe, root), comparison.device).fit()
            minutes = (time.monotonic() - began) / 60
        embed, size, what = open_embedder(folder, comparison.device)
        scores = score(embed_dataset(embed, _judged(comparison, recipe, target, root), size))
        result = {
            "name": entry.name,
            "sources": sources,
            "target": target,
            "seed": seed,
            "metrics": percentages(scores),
            **query_counts(scores),
            "identities": comparison.identities,
            "ignore_cameras": comparison.ignore_cameras,
            "crops": crops,
            "minutes": round(minutes, 1),
            "machine": f"{what}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python "
            f"{platform.python_version()}",
            "command": f"resight train {entry.recipe} {changed}",
            "recipe": plain,
        }
        minutes = 0.0
        path.write_text(json.dumps(result, indent=1) + "\n")
        yield result


def _require_all(comparison: Comparison, root: Path, out: Path) -> None:
    """Raises for a device, a recipe or a target that would stop the comparison after hours of it."""
    torch_device(comparison.device)
    if out.exists() and not out.is_dir():
        raise RecipeError(f"{out} is a file, and the runs need a folder; choose another --out")
    judged: dict[tuple[str, int, str], None] = {}
    for sources, joined in comparison.plan:
        targets = joined.split(",")
        for entry, seed in itertools.product(comparison.entries, comparison.seeds):
            recipe = _recipe(comparison, entry, sources, targets, seed, out)
            folder = _folder(out, entry, targets, seed)
            require_start(recipe, folder)
            for target in targets:
                if (path := _result_path(folder, targets, target)).is_file():
                    _read_result(path, comparison, recipe)
                else:
                    judged[target, recipe.split, recipe.pattern] = None
    for target, split, pattern in judged:
        require_matches(judged_crops(read_dataset(target, root, split, pattern), comparison.ignore_cameras))


def _recipe(
    comparison: Comparison, entry: Entry, sources: str, targets: Sequence[str], seed: int, out: Path
) -> Recipe:
    """The recipe of a run, with its settings filled in."""
    filled = []
    for setting in entry.settings:
        named = setting.replace("{runs}", str(out)).replace("{target}", _plain(targets[0]))
        filled.append(named.replace("{seed}", str(seed)))
    common = [f"seed={seed}", f"dataset={sources}"]
    return load_recipe(entry.recipe, [*comparison.settings, *filled, *common])


def _folder(out: Path, entry: Entry, targets: Sequence[str], seed: int) -> Path:
    return out / f"{_plain(entry.name)}-{_plain(targets[0])}-{seed}"


def _result_path(folder: Path, targets: Sequence[str], target: str) -> Path:
    return folder / ("result.json" if target == targets[0] else f"result-{_plain(target)}.json")


def _read_result(path: Path, comparison: Comparison, recipe: Recipe) -> dict[str, Any]:
    """A result that was there before. Raises RecipeError for a file that is none, and for another recipe."""
    try:
        result = json.loads(path.read_text())
    except ValueError:
        result = None
    if not isinstance(result, dict) or not {"recipe", "identities", "crops", "metrics"} <= result.keys():
        raise RecipeError(f"{path} is no result of a comparison; delete it, or choose another --out")
    measured = recipe_from_dict(result["recipe"], str(path))
    if measured != recipe or result["identities"] != comparison.identities:
        raise RecipeError(f"{path} was measured with another recipe; choose another --out")
    if result.get("ignore_cameras", False) != comparison.ignore_cameras:
        raise RecipeError(f"{path} was measured with another --ignore-cameras; choose another --out")
    return result


def _judged(comparison: Comparison, recipe: Recipe, target: str, root: Path) -> Dataset:
    """The query and gallery of a target."""
    dataset = read_dataset(target, root, recipe.split, recipe.pattern)
    return judged_crops(dataset, comparison.ignore_cameras, recipe.skip_unreadable)


def table(
    results: Sequence[dict[str, Any]], metrics: Sequence[str] = ("mAP", "rank-1")
) -> list[tuple[str, ...]]:
    """Rows (target, name, seeds, mean ± sample deviation of each metric over the seeds)."""
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for result in results:
        groups.setdefault((result["target"], result["name"]), []).append(result["metrics"])
    rows: list[tuple[str, ...]] = []
    for (target, name), runs in groups.items():
        cells = [mean_and_deviation([run[metric] for run in runs]) for metric in metrics]
        rows.append((target, name, str(len(runs)), *cells))
    return rows


def queries(results: Sequence[dict[str, Any]]) -> list[str]:
    """Of each row of `table`: how many queries were scored, '40', or '1 of 4' where some have no match."""
    groups = {(result["target"], result["name"]): scored(result) for result in results}
    return list(groups.values())


def mean_and_deviation(values: Sequence[float]) -> str:
    """'12.3 ± 0.4', or '12.3' for a single value."""
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def _first(dataset: Dataset, identities: int | None) -> Dataset:
    """The dataset with the first so many training identities of each domain."""
    if identities is None:
        return dataset
    people: dict[int, list[int]] = {}
    for domain, pid in sorted({(r.domain, r.pid) for r in dataset.train}):
        people.setdefault(domain, []).append(pid)
    kept = {domain: set(pids[:identities]) for domain, pids in people.items()}
    train = [r for r in dataset.train if r.pid in kept[r.domain]]
    return dataclasses.replace(dataset, train=train)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)
