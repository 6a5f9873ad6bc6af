"""Pictures for `resight visualize`: a sheet of queries with their best matches, or one of the figures."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from reid.batches import Progress
from reid.engines import Device
from reid.engines.pytorch import torch_device
from reid.images import CropSize
from training.classify import load_classifier
from training.data import read_dataset, sources_of
from training.data.loader import load_crops
from training.data.records import Dataset, DatasetError, Record
from training.data.selection import judged_crops
from training.evaluate import (
    Embed,
    Size,
    embed_dataset,
    embed_records,
    of_queries,
    open_embedder,
    open_network,
    query_counts,
    score,
)
from training.figures import batchnorm_figure, cmc_figure, embedding_figure
from training.filters_figure import filters_figure
from training.sheet import Cell, save_sheet
from training.surface_figure import Classifying, surface, surface_figure

_RIGHT, _WRONG, _QUERY = (40, 160, 70), (200, 50, 50), (40, 40, 40)


class Picture(NamedTuple):
    """What to draw."""

    what: str  # ranks, cmc, embeddings, people, filters, batchnorm or surface
    sources: list[Path]
    dataset: str
    data: Path
    split: int
    queries: int
    matches: int
    crops: int  # of each dataset
    seed: int
    device: Device
    pattern: str = ""  # of the dataset `pattern`
    ignore_cameras: bool = False  # whether matches of the query's own camera count
    people: int = 7  # of `people`
    points: int = 21  # of a side of `surface`


def draw(picture: Picture, out: Path, progress: Progress | None = None) -> None:
    """Draws and saves a picture. Raises what its readers, engines and figures raise."""
    if picture.what == "batchnorm":
        embedder = open_network(picture.sources[0])
        spec = embedder.spec
        shape = CropSize(spec.height, spec.width, spec.interpolation)
        *source, target = (load_crops(_sample(part, picture), *shape) for part in _datasets(picture))
        batchnorm_figure(embedder, target, source[0] if source else None, picture.seed).savefig(out, dpi=150)
        return
    if picture.what == "cmc":
        dataset, curves, names = _evaluated(picture), {}, _names(picture.sources)
        for path in picture.sources:
            embed, size, _ = open_embedder(path, picture.device)
            scores = score(embed_dataset(embed, dataset, size, progress))
            curves[names[path]] = scores.cmc
        cmc_figure(curves, f"{picture.dataset}\n{of_queries(query_counts(scores))}").savefig(out, dpi=150)
        return
    if picture.what == "surface":
        _surfaces(picture, progress).savefig(out, dpi=150)
        return
    if picture.what == "filters":
        embedder = open_network(picture.sources[0])
        spec = embedder.spec
        shape = CropSize(spec.height, spec.width, spec.interpolation)
        crops = {part.name: load_crops(_sample(part, picture), *shape) for part in _datasets(picture)}
        filters_figure(embedder, crops, picture.seed).savefig(out, dpi=150)
        return
    embed, size, _ = open_embedder(picture.sources[0], picture.device)
    if picture.what == "people":
        persons = _people(_evaluated(picture), picture.people, picture.seed)
        shown = {
            name: embed_records(embed, crops, size, progress=progress) for name, crops in persons.items()
        }
        embedding_figure(shown, picture.seed).savefig(out, dpi=150)
        return
    if picture.what == "embeddings":
        groups = {
            part.name: embed_records(embed, _sample(part, picture), size, progress=progress)
            for part in _datasets(picture)
        }
        embedding_figure(groups, picture.seed).savefig(out, dpi=150)
        return
    dataset = _evaluated(picture)
    sheet = rank_sheet(embed, dataset, size, picture.queries, picture.matches, picture.seed, progress)
    save_sheet(sheet, out)


def _surfaces(picture: Picture, progress: Progress | None) -> Figure:
    """The losses of the runs' own classifiers on training crops drawn by the seed, the same for all."""
    dataset = read_dataset(picture.dataset, picture.data, picture.split, picture.pattern)
    labels = np.array(dataset.train_labels())
    chosen = np.sort(np.random.default_rng(picture.seed).permutation(len(labels))[: picture.crops])
    names, surfaces = _names(picture.sources), {}
    for path in picture.sources:
        classifier = load_classifier(path, len(set(labels)))
        embedder = open_network(path)
        spec = embedder.spec
        size = CropSize(spec.height, spec.width, spec.interpolation)
        crops = load_crops([dataset.train[i] for i in chosen], *size)
        model = Classifying(embedder, classifier).eval().to(torch_device(picture.device))
        surfaces[names[path]] = surface(model, crops, labels[chosen], picture.points, picture.seed, progress)
    return surface_figure(surfaces)


def _names(sources: list[Path]) -> dict[Path, str]:
    """What a model is called in a legend: its last name, or the whole path where another has that name."""
    counts = Counter(path.name for path in sources)
    return {path: path.name if counts[path.name] == 1 else str(path) for path in sources}


def _evaluated(picture: Picture) -> Dataset:
    dataset = read_dataset(picture.dataset, picture.data, picture.split, picture.pattern)
    return judged_crops(dataset, picture.ignore_cameras)


def _datasets(picture: Picture) -> list[Dataset]:
    """The datasets of a joined name, each under its name there."""
    names = sources_of(picture.dataset)
    datasets = [read_dataset(name, picture.data, picture.split, picture.pattern) for name in names]
    return [dataclasses.replace(part, name=name) for part, name in zip(datasets, names, strict=True)]


def _people(dataset: Dataset, count: int, seed: int) -> dict[str, list[Record]]:
    """All query and gallery crops of some people with queries, drawn by the seed (M3L's Figure A)."""
    pids = sorted({record.pid for record in dataset.query})
    if len(pids) < count:
        raise DatasetError(f"{dataset.name} has {len(pids)} people with queries, not the {count} to show")
    chosen = np.sort(np.random.default_rng(seed).permutation(pids)[:count])
    records = [*dataset.query, *dataset.gallery]
    return {f"person {pid}": [record for record in records if record.pid == pid] for pid in chosen}


def _sample(dataset: Dataset, picture: Picture) -> list[Record]:
    """Gallery crops, or training crops where there is no gallery, drawn by the seed."""
    records = dataset.gallery or dataset.train
    chosen = np.random.default_rng(picture.seed).permutation(len(records))[: picture.crops]
    return [records[i] for i in np.sort(chosen)]


def rank_sheet(
    embed: Embed,
    dataset: Dataset,
    size: Size,
    queries: int = 10,
    matches: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[list[Cell]]:
    """Queries chosen by the seed, each with its best matches: green frames are right, red ones wrong.

    The query with the lowest average precision comes first, queries without a match last. Under each crop
    stand its camera, the AP (percent) or the cosine, and the file's name. Crops that evaluation drops (the
    query's own camera showing the query's person) are dropped here too.

    Raises DatasetError where the dataset has no queries.
    """
    if not dataset.query:
        raise DatasetError(f"{dataset.name} has no query crops to show")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset.query))[:queries])
    shown = [dataset.query[i] for i in chosen]
    embeddings = embed_records(embed, [*shown, *dataset.gallery], size, progress=progress)
    scores = embeddings[: len(shown)] @ embeddings[len(shown) :].T
    ranked = sorted(zip(shown, scores, strict=True), key=lambda pair: _ap_of(pair[0], pair[1], dataset))
    return [_row(query, line, dataset, matches) for query, line in ranked]


def _row(query: Record, line: np.ndarray, dataset: Dataset, matches: int) -> list[Cell]:
    """A query, with its average precision, and its best matches."""
    kept = _kept(query, dataset)
    order = [int(g) for g in np.argsort(-line, kind="stable") if kept[g]][:matches]
    precision = _ap_of(query, line, dataset)
    said = "no match" if np.isinf(precision) else f"AP {100 * precision:.0f}"
    cells = [Cell(query, _QUERY, f"c{query.camid} {said}")]
    for g in order:
        match = dataset.gallery[g]
        colour = _RIGHT if match.pid == query.pid else _WRONG
        cells.append(Cell(match, colour, f"c{match.camid} {line[g]:.2f}"))
    return cells


def _kept(query: Record, dataset: Dataset) -> np.ndarray:
    """bool [G]: the gallery crops that evaluation compares with the query."""
    if dataset.ignore_camera:
        return np.ones(len(dataset.gallery), bool)
    return np.array([(r.pid, r.camid) != (query.pid, query.camid) for r in dataset.gallery])


def _ap_of(query: Record, line: np.ndarray, dataset: Dataset) -> float:
    """Average precision of a query among what evaluation keeps; infinity where nothing there is right."""
    right = np.array([r.pid == query.pid for r in dataset.gallery])
    kept = _kept(query, dataset)
    hits = right[kept][np.argsort(-line[kept], kind="stable")]
    if not hits.any():
        return float("inf")
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
