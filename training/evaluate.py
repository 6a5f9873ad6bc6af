"""How well a run or a bundle ranks a dataset: step mAP, CMC, mINP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from reid.batches import BATCH, Progress, in_batches
from reid.bundle import Bundle
from reid.calibration import calibrate
from reid.checkpoint import read_embedder
from reid.engines import Device, choose_engine
from reid.engines.pytorch import compute_in_float32, load_embedder, torch_device
from reid.models.build import Embedder
from reid.models.runner import CropRunner
from reid.open_set import open_set_rates, open_set_trial
from reid.ranking import Precision, RankingScores, pooled, rank_embeddings, rank_scores
from reid.reranking import expand_queries, rerank
from training.data.loader import load_crops
from training.data.records import Dataset, DatasetError, Record

Embed = Callable[[np.ndarray], np.ndarray]  # uint8 [B,H,W,3] -> float32 [B,D]


def open_embedder(
    source: Path, device: Device = "auto", engine: str = "auto"
) -> tuple[Embed, tuple[int, int], str]:
    """A run folder, checkpoint file or bundle -> (embed, (height, width), what computes, as text).

    Raises EngineError where the device or the engine cannot be used.
    """
    if (source / "manifest.json").is_file():
        bundle = Bundle.load(source)
        chosen = choose_engine(bundle, device, engine)
        info = chosen.describe()
        return (
            chosen.embed,
            (bundle.manifest.height, bundle.manifest.width),
            f"{info.engine} {info.provider} {info.precision}",
        )
    embedder, _ = read_embedder(source)
    place = torch_device(device)
    compute_in_float32()
    size = (embedder.spec.height, embedder.spec.width)
    return CropRunner(embedder, place).embed, size, f"torch {place} fp32"


def open_network(source: Path) -> Embedder:
    """The torch network of a run folder, checkpoint file or bundle, in eval mode."""
    if (source / "manifest.json").is_file():
        bundle = Bundle.load(source)
        return load_embedder(bundle, bundle.profile())
    return read_embedder(source)[0]


def embed_records(
    embed: Embed,
    records: Sequence[Record],
    size: tuple[int, int],
    batch: int = BATCH,
    progress: Progress | None = None,
) -> np.ndarray:
    """float32 [N,D] of the records in their order; only one batch of crops is in memory at a time."""

    def compute(rows: slice) -> np.ndarray:
        return embed(load_crops(records[rows], *size))

    return in_batches(len(records), compute, batch, progress)


class Embedded(NamedTuple):
    """Embeddings and labels of a dataset's query and gallery."""

    query: np.ndarray  # float32 unit [Q,D]
    gallery: np.ndarray  # float32 unit [G,D]
    # pids of query and gallery, cameras of query and gallery: [Q], [G], [Q], [G]
    labels: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    ignore_camera: bool
    single_shot: bool = False


def embed_dataset(
    embed: Embed, dataset: Dataset, size: tuple[int, int], progress: Progress | None = None
) -> Embedded:
    """Embeds query and gallery. Raises DatasetError where the dataset has no queries."""
    if not dataset.query:
        raise DatasetError(f"{dataset.name} has no query crops to evaluate on")
    embeddings = embed_records(embed, [*dataset.query, *dataset.gallery], size, progress=progress)
    return labelled(dataset, embeddings)


def labelled(dataset: Dataset, embeddings: np.ndarray) -> Embedded:
    """Embeddings [Q+G,D] of a dataset's query and then its gallery, with their labels."""
    records = [*dataset.query, *dataset.gallery]
    pids, cams = np.array([r.pid for r in records]), np.array([r.camid for r in records])
    n = len(dataset.query)
    labels = (pids[:n], pids[n:], cams[:n], cams[n:])
    return Embedded(embeddings[:n], embeddings[n:], labels, dataset.ignore_camera, dataset.single_shot)


def score(
    embedded: Embedded, precision: Precision = "step", reranked: bool = False, expanded: int = 0
) -> RankingScores:
    """Ranks the gallery for the queries.

    A single-shot dataset is ranked ten times, each with another gallery image of each person.

    Args:
        reranked: by k-reciprocal neighbours.
        expanded: number of matches that each query is averaged with first; 0 leaves queries as they are.

    Raises ValueError where the dataset is too small for the re-ranking or the expansion.
    """
    threads = torch.get_num_threads()
    try:
        if embedded.single_shot:
            return pooled([_score(shot, precision, reranked, expanded) for shot in _single_shots(embedded)])
        return _score(embedded, precision, reranked, expanded)
    finally:
        # numba asks the OpenMP of both for every core, and torch would use them all from here on
        torch.set_num_threads(threads)


def _score(embedded: Embedded, precision: Precision, reranked: bool, expanded: int) -> RankingScores:
    query = expand_queries(embedded.query, embedded.gallery, expanded) if expanded else embedded.query
    if reranked:
        return rank_scores(
            -rerank(query, embedded.gallery), *embedded.labels, precision, embedded.ignore_camera
        )
    return rank_embeddings(query, embedded.gallery, *embedded.labels, precision, embedded.ignore_camera)


def _single_shots(embedded: Embedded, repetitions: int = 10) -> Iterator[Embedded]:
    qp, gp, qc, gc = embedded.labels
    for seed in range(repetitions):
        shuffled = np.random.default_rng(seed).permutation(len(gp))
        _, first = np.unique(gp[shuffled], return_index=True)  # of each person, in a random order
        kept = np.sort(shuffled[first])
        labels = (qp, gp[kept], qc, gc[kept])
        yield embedded._replace(gallery=embedded.gallery[kept], labels=labels, single_shot=False)


def evaluate(embed: Embed, dataset: Dataset, size: tuple[int, int]) -> RankingScores:
    """Embeds and ranks. Raises DatasetError where the dataset has no queries."""
    return score(embed_dataset(embed, dataset, size))


def percentages(scores: RankingScores) -> dict[str, float]:
    """The scores that papers print, in percent."""
    values = {"mAP": scores.mean_ap, "mINP": scores.mean_inp}
    for k in (1, 5, 10):
        values[f"rank-{k}"] = scores.rank(k)
    return {name: round(100 * value, 2) for name, value in values.items()}


def open_set(embedded: Embedded) -> dict[str, float]:
    """Open-set scores: FNIR (percent) and threshold at two FPIR, and a calibration with its error (percent).

    The calibration is left out where there are too few people for it. Raises ValueError where there are no
    rates either.
    """
    trial = open_set_trial(embedded.query, embedded.gallery, *embedded.labels, embedded.ignore_camera)
    values: dict[str, float] = {}
    for rate, (threshold, missed) in open_set_rates(trial).items():
        values[f"FNIR at FPIR {rate:.0%}"] = round(100 * missed, 2)
        values[f"threshold at FPIR {rate:.0%}"] = round(threshold, 4)
    try:
        calibration, error = calibrate(trial)
    except ValueError:
        return values
    values["calibration slope"] = round(calibration.slope, 3)
    values["calibration intercept"] = round(calibration.intercept, 3)
    values["calibration error"] = round(100 * error, 2)
    return values


def as_metrics(scores: RankingScores, dataset: str, command: str) -> dict[str, Any]:
    """Percentages as they stand in a manifest, with the command that measured them."""
    return {"dataset": dataset, "command": command, **percentages(scores)}
