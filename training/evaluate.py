"""How well a run or a bundle ranks a dataset: step mAP, CMC, mINP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union

import numpy as np
import safetensors
import torch

from reid.batches import BATCH, Progress, in_batches
from reid.bundle import Bundle
from reid.calibration import calibrate
from reid.checkpoint import read_embedder
from reid.engines import Device, EngineError, choose_engine
from reid.engines.pytorch import compute_in_float32, load_embedder, torch_device
from reid.images import CropSize
from reid.models.build import Embedder
from reid.open_set import open_set_rates, open_set_trial
from reid.ranking import Precision, RankingScores, pooled, rank_embeddings, rank_scores
from reid.reranking import expand_queries, rerank
from training.data.loader import load_crops
from training.data.matches import require_matches
from training.data.records import Dataset, Record
from training.data.tracks import as_items, has_tracks
from training.features import DEPLOYED, Features, euclidean, feature_runner, published_network

_TRACK_CROPS = 4096  # embedded before they are pooled
Size = Union[tuple[int, int], CropSize]
Distance = Literal["cosine", "euclidean"]
Embed = Callable[[np.ndarray], np.ndarray]  # uint8 [B,H,W,3] -> float32 [B,D]


def open_embedder(
    source: Path, device: Device = "auto", engine: str = "auto", features: Features = DEPLOYED
) -> tuple[Embed, Size, str]:
    """A run folder, checkpoint file or bundle -> (embed, (height, width), what computes, as text).

    A file of published weights is a network too: its trunk without a neck.
    Raises EngineError where the device or the engine cannot be used. A run is computed by torch alone, and
    so is a bundle for features that are not the deployed one.
    """
    bundled = (source / "manifest.json").is_file()
    if bundled and features == DEPLOYED:
        bundle = Bundle.load(source)
        chosen = choose_engine(bundle, device, engine)
        info = chosen.describe()
        return (
            chosen.embed,
            (bundle.manifest.height, bundle.manifest.width),
            f"{info.engine} {info.provider} {info.precision}",
        )
    if engine not in ("auto", "torch"):
        why = "these are other features than the deployed one" if bundled else f"{source} is no bundle"
        raise EngineError(
            f"{why}, so torch computes it and not the engine {engine!r}; "
            + ("leave the engine out" if bundled else "export it first, or leave the engine out")
        )
    place = torch_device(device)
    embedder = open_network(source)
    compute_in_float32()
    size = CropSize(embedder.spec.height, embedder.spec.width, embedder.spec.interpolation)
    return feature_runner(embedder, place, features), size, f"torch {place} fp32"


def open_network(source: Path) -> Embedder:
    """The torch network of a run, checkpoint, bundle or file of published weights, in eval mode."""
    if (source / "manifest.json").is_file():
        bundle = Bundle.load(source)
        return load_embedder(bundle, bundle.profile())
    if source.suffix == ".safetensors" and source.is_file() and not _is_checkpoint(source):
        return published_network(source)
    return read_embedder(source)[0]


def _is_checkpoint(path: Path) -> bool:
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            return "resight" in (opened.metadata() or {})
    except safetensors.SafetensorError:
        return True  # damaged, which its reader says


def embed_records(
    embed: Embed,
    records: Sequence[Record],
    size: Size,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> np.ndarray:
    """float32 [N,D] of the records in their order; only one batch of crops is in memory at a time."""

    def compute(rows: slice) -> np.ndarray:
        return embed(load_crops(records[rows], *CropSize.of(size)))

    return in_batches(len(records), compute, batch, progress)


class Embedded(NamedTuple):
    """Embeddings and labels of a dataset's query and gallery."""

    query: np.ndarray  # float32 unit [Q,D]
    gallery: np.ndarray  # float32 unit [G,D]
    # pids of query and gallery, cameras of query and gallery: [Q], [G], [Q], [G]
    labels: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    ignore_camera: bool
    single_shot: bool = False


def embed_dataset(embed: Embed, dataset: Dataset, size: Size, progress: Progress | None = None) -> Embedded:
    """Embeds query and gallery; of a track it takes the mean of its crops, at unit length.

    Raises DatasetError where there are no queries, or none with a match in the gallery.
    """
    require_matches(dataset)
    records = [*dataset.query, *dataset.gallery]
    if not has_tracks(dataset):
        return labelled(dataset, embed_records(embed, records, size, progress=progress))
    query, of_query = as_items(dataset.query)
    _, of_gallery = as_items(dataset.gallery)
    item_of = np.concatenate([of_query, of_gallery + len(query)])
    return labelled(dataset, _pooled_tracks(embed, records, item_of, size, progress))


def embed_splits(
    embed: Embed, splits: Sequence[Dataset], size: Size, progress: Progress | None = None
) -> list[Embedded]:
    """Several splits of the same crops, each as `embed_dataset` gives it; a crop is embedded once.

    Raises DatasetError as `embed_dataset` does, for any of the splits and before anything is embedded.
    """
    for part in splits:
        require_matches(part)
    if any(has_tracks(part) for part in splits):  # pooled piece by piece, since tracks make millions of crops
        return [embed_dataset(embed, part, size, progress) for part in splits]
    crops = {r.path: r for part in splits for r in (*part.query, *part.gallery)}
    row_of = {path: row for row, path in enumerate(crops)}
    embeddings = embed_records(embed, list(crops.values()), size, progress=progress)
    return [
        labelled(part, embeddings[[row_of[r.path] for r in (*part.query, *part.gallery)]]) for part in splits
    ]


def _pooled_tracks(
    embed: Embed,
    records: Sequence[Record],
    item_of: np.ndarray,
    size: Size,
    progress: Progress | None,
) -> np.ndarray:
    """float32 unit [items,D]: the mean embedding of each item's records, `item_of` int64 [N] says whose.

    Only so many embeddings as a chunk has are in memory at once: tracks make millions of crops.
    """
    sums: np.ndarray | None = None
    for start in range(0, len(records), _TRACK_CROPS):
        rows = slice(start, start + _TRACK_CROPS)
        part = embed_records(embed, records[rows], size)
        if sums is None:
            sums = np.zeros((int(item_of.max()) + 1, part.shape[1]), np.float32)
        np.add.at(sums, item_of[rows], part)
        if progress is not None:
            progress(min(rows.stop, len(records)), len(records))
    assert sums is not None
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.float32(1e-12))


def labelled(dataset: Dataset, embeddings: np.ndarray) -> Embedded:
    """Embeddings [Q+G,D] of a dataset's query and then its gallery, with their labels; a track is one row."""
    items = [*as_items(dataset.query)[0], *as_items(dataset.gallery)[0]]
    pids, cams = np.array([r.pid for r in items]), np.array([r.camid for r in items])
    n = len(as_items(dataset.query)[0])
    labels = (pids[:n], pids[n:], cams[:n], cams[n:])
    return Embedded(embeddings[:n], embeddings[n:], labels, dataset.ignore_camera, dataset.single_shot)


def score(
    embedded: Embedded,
    precision: Precision = "step",
    reranked: bool = False,
    expanded: int = 0,
    distance: Distance = "cosine",
) -> RankingScores:
    """Ranks the gallery for the queries.

    A single-shot dataset is ranked ten times, each with another gallery image of each person.

    Args:
        reranked: by k-reciprocal neighbours.
        expanded: number of matches that each query is averaged with first; 0 leaves queries as they are.
        distance: `euclidean` ranks features by their distance, whatever their length.

    Raises ValueError where the dataset is too small for the re-ranking or the expansion, or the distance is
    Euclidean, which both know nothing of.
    """
    if distance == "euclidean":
        if reranked or expanded:
            raise ValueError("re-ranking and query expansion compare by cosine: leave the distance out")
        embedded = euclidean(embedded)
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


def evaluate(embed: Embed, dataset: Dataset, size: Size) -> RankingScores:
    """Embeds and ranks. Raises DatasetError where the dataset has no queries."""
    return score(embed_dataset(embed, dataset, size))


def percentages(scores: RankingScores) -> dict[str, float]:
    """The scores that papers print, in percent."""
    values = {"mAP": scores.mean_ap, "mINP": scores.mean_inp}
    for k in (1, 5, 10):
        values[f"rank-{k}"] = scores.rank(k)
    return {name: round(100 * value, 2) for name, value in values.items()}


def query_counts(scores: RankingScores) -> dict[str, int]:
    """How many queries the scores are of, and how many could not be scored, as they stand in every JSON."""
    return {"queries": scores.queries, "queries without a match": scores.skipped}


def scored(counts: Mapping[str, Any]) -> str:
    """'40' where all queries are scored, else '1 of 4'; a result of an earlier version knows of no others."""
    left = counts.get("queries without a match", 0)
    return f"{counts['queries']} of {counts['queries'] + left}" if left else str(counts["queries"])


def of_queries(counts: Mapping[str, Any]) -> str:
    """'40 queries', or '1 of 4 queries, 3 without a match in the gallery', as titles say it."""
    left = counts.get("queries without a match", 0)
    others = f", {left} without a match in the gallery" if left else ""
    return f"{scored(counts)} queries{others}"


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
        calibration, error, _ = calibrate(trial)
    except ValueError:
        return values
    values["calibration slope"] = round(calibration.slope, 3)
    values["calibration intercept"] = round(calibration.intercept, 3)
    values["calibration error"] = round(100 * error, 2)
    return values


def as_metrics(scores: RankingScores, dataset: str, command: str) -> dict[str, Any]:
    """Percentages and query counts as they stand in a manifest, with the command that measured them."""
    return {"dataset": dataset, "command": command, **percentages(scores), **query_counts(scores)}
