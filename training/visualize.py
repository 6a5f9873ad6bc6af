"""Pictures for `resight visualize`: a sheet of queries with their best matches, or one of the figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reid.batches import Progress
from reid.engines import Device
from training.data import read_dataset, sources_of
from training.data.loader import load_crops
from training.data.records import Dataset, DatasetError, Record
from training.data.selection import judged_crops
from training.evaluate import (
    Embed,
    embed_dataset,
    embed_records,
    of_queries,
    open_embedder,
    open_network,
    query_counts,
    score,
)
from training.figures import batchnorm_figure, cmc_figure, embedding_figure

_CELL, _FRAME, _LABEL, _GAP = (64, 128), 4, 12, 6
_RIGHT, _WRONG, _QUERY = (40, 160, 70), (200, 50, 50), (40, 40, 40)


class Picture(NamedTuple):
    """What to draw."""

    what: str  # ranks, cmc, embeddings or batchnorm
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


def draw(picture: Picture, out: Path, progress: Progress | None = None) -> None:
    """Draws and saves a picture. Raises what its readers, engines and figures raise."""
    if picture.what == "batchnorm":
        embedder = open_network(picture.sources[0])
        size = (embedder.spec.height, embedder.spec.width)
        *source, target = (load_crops(_sample(part, picture), *size) for part in _datasets(picture))
        batchnorm_figure(embedder, target, source[0] if source else None, picture.seed).savefig(out, dpi=150)
        return
    if picture.what == "cmc":
        dataset, curves = _evaluated(picture), {}
        for path in picture.sources:
            embed, size, _ = open_embedder(path, picture.device)
            scores = score(embed_dataset(embed, dataset, size, progress))
            curves[path.name] = scores.cmc
        cmc_figure(curves, f"{picture.dataset}\n{of_queries(query_counts(scores))}").savefig(out, dpi=150)
        return
    embed, size, _ = open_embedder(picture.sources[0], picture.device)
    if picture.what == "embeddings":
        groups = {
            part.name: embed_records(embed, _sample(part, picture), size, progress=progress)
            for part in _datasets(picture)
        }
        embedding_figure(groups, picture.seed).savefig(out, dpi=150)
        return
    dataset = _evaluated(picture)
    rank_sheet(embed, dataset, size, picture.queries, picture.matches, picture.seed, progress).save(out)


def _evaluated(picture: Picture) -> Dataset:
    dataset = read_dataset(picture.dataset, picture.data, picture.split, picture.pattern)
    return judged_crops(dataset, picture.ignore_cameras)


def _datasets(picture: Picture) -> list[Dataset]:
    """The datasets of a joined name, each under its name there."""
    names = sources_of(picture.dataset)
    datasets = [read_dataset(name, picture.data, picture.split, picture.pattern) for name in names]
    return [dataclasses.replace(part, name=name) for part, name in zip(datasets, names, strict=True)]


def _sample(dataset: Dataset, picture: Picture) -> list[Record]:
    """Gallery crops, or training crops where there is no gallery, drawn by the seed."""
    records = dataset.gallery or dataset.train
    chosen = np.random.default_rng(picture.seed).permutation(len(records))[: picture.crops]
    return [records[i] for i in np.sort(chosen)]


def rank_sheet(
    embed: Embed,
    dataset: Dataset,
    size: tuple[int, int],
    queries: int = 10,
    matches: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> Image.Image:
    """Queries chosen by the seed, each with its best matches: green frames are right, red ones wrong.

    Under each match stand its camera and its cosine. Crops that evaluation drops (the query's own camera
    showing the query's person) are dropped here too. Raises DatasetError where the dataset has no queries.
    """
    if not dataset.query:
        raise DatasetError(f"{dataset.name} has no query crops to show")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset.query))[:queries])
    shown = [dataset.query[i] for i in chosen]
    embeddings = embed_records(embed, [*shown, *dataset.gallery], size, progress=progress)
    scores = embeddings[: len(shown)] @ embeddings[len(shown) :].T
    pids, cams = np.array([r.pid for r in dataset.gallery]), np.array([r.camid for r in dataset.gallery])
    width, height = _CELL[0] + 2 * _FRAME + _GAP, _CELL[1] + 2 * _FRAME + _LABEL + _GAP
    sheet = Image.new("RGB", (_GAP + width * (matches + 1) + _GAP, _GAP + height * len(shown)), "white")
    for row, (query, line) in enumerate(zip(shown, scores, strict=True)):
        if not dataset.ignore_camera:
            line = np.where((pids == query.pid) & (cams == query.camid), -np.inf, line)
        order = [int(g) for g in np.argsort(-line, kind="stable")[:matches] if np.isfinite(line[g])]
        top = _GAP + row * height
        _paste(sheet, query, (_GAP, top), _QUERY, f"c{query.camid}")
        for column, g in enumerate(order, 1):
            match = dataset.gallery[g]
            colour = _RIGHT if match.pid == query.pid else _WRONG
            _paste(sheet, match, (2 * _GAP + column * width, top), colour, f"c{match.camid} {line[g]:.2f}")
    return sheet


def _paste(
    sheet: Image.Image, record: Record, place: tuple[int, int], colour: tuple[int, int, int], label: str
) -> None:
    pen = ImageDraw.Draw(sheet)
    x, y = place
    pen.rectangle((x, y, x + _CELL[0] + 2 * _FRAME - 1, y + _CELL[1] + 2 * _FRAME - 1), fill=colour)
    with Image.open(record.path) as crop:
        sheet.paste(crop.convert("RGB").resize(_CELL, Image.Resampling.BILINEAR), (x + _FRAME, y + _FRAME))
    pen.text((x + _FRAME, y + _CELL[1] + 2 * _FRAME), label, fill=colour, font=ImageFont.load_default(10))
