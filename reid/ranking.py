"""How good a ranking is: CMC, mAP, mINP under the field's rules (methods B.3 and B.4).

The gallery is never sorted. For each query only its few positives are; a pass over the gallery for each of
them then counts how many other items rank before it. That gives every rank that CMC, AP and INP need.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

import numba
import numpy as np

from reid.pids import JUNK

Precision = Literal["step", "trapezoid"]
_BLOCK = 512  # queries whose scores are in memory at once


@dataclasses.dataclass(frozen=True)
class RankingScores:
    """Means over the queries that have at least one positive in the gallery; shares, not percent."""

    mean_ap: float
    mean_inp: float
    cmc: np.ndarray  # float64 [depth]: share of queries whose first positive is within rank 1, 2, ...
    queries: int  # queries that counted
    skipped: int  # queries without a positive in the gallery
    per_query: np.ndarray  # float64 [queries,3]: AP, INP, rank of the first positive

    def rank(self, k: int) -> float:
        """Share of queries with a positive among the first k."""
        return float(self.cmc[min(k, len(self.cmc)) - 1])

    def interval(
        self, name: Literal["mAP", "mINP", "rank-1"], rounds: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """95 % bootstrap interval of a mean: how far other queries of the same people could move it."""
        ap, inp, first = self.per_query.T
        values = {"mAP": ap, "mINP": inp, "rank-1": (first == 1).astype(np.float64)}[name]
        rng = np.random.default_rng(seed)
        means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(rounds)]
        low, high = np.percentile(means, (2.5, 97.5))
        return float(low), float(high)


def rank_embeddings(
    query: np.ndarray,
    gallery: np.ndarray,
    query_pids: np.ndarray,
    gallery_pids: np.ndarray,
    query_cams: np.ndarray,
    gallery_cams: np.ndarray,
    precision: Precision = "step",
    ignore_camera: bool = False,
    depth: int = 50,
) -> RankingScores:
    """Scores of ranking `gallery` for every `query` by inner product.

    Args:
        query, gallery: float32 unit embeddings [Q,D] and [G,D].
        *_pids, *_cams: integers [Q] and [G]. Pid -1 in the gallery is junk, a pid without queries a
            distractor.
        precision: `step` is the average precision of today's papers, `trapezoid` that of Market-1501's code.
        ignore_camera: keep positives of the query's own camera, which are dropped otherwise.
        depth: length of the CMC.

    Raises ValueError when lengths differ or no query has a positive.
    """
    if len(query) != len(query_pids) or len(gallery) != len(gallery_pids):
        raise ValueError(
            f"{len(query)} queries with {len(query_pids)} pids, {len(gallery)} gallery items with "
            f"{len(gallery_pids)} pids"
        )
    transposed = np.ascontiguousarray(gallery.T, np.float32)
    blocks = (
        np.ascontiguousarray(query[i : i + _BLOCK], np.float32) @ transposed
        for i in range(0, len(query), _BLOCK)
    )
    return _rank(
        blocks, (query_pids, gallery_pids, query_cams, gallery_cams), precision, ignore_camera, depth
    )


def rank_scores(
    scores: np.ndarray,
    query_pids: np.ndarray,
    gallery_pids: np.ndarray,
    query_cams: np.ndarray,
    gallery_cams: np.ndarray,
    precision: Precision = "step",
    ignore_camera: bool = False,
    depth: int = 50,
) -> RankingScores:
    """As `rank_embeddings`, from a score matrix float32 [Q,G].

    Higher scores are better; equal ones rank in gallery order.
    """
    return _rank(
        [scores], (query_pids, gallery_pids, query_cams, gallery_cams), precision, ignore_camera, depth
    )


def rank_hits(hits: list[np.ndarray], depth: int = 50) -> RankingScores:
    """Scores of finished rankings, like those a server returns.

    Args:
        hits: for each query the 1-based ranks of all its positives, with junk and same-camera positives
            removed.
    """
    rows = [_ap_inp_first(np.sort(np.asarray(ranks, np.int64)), False) for ranks in hits]
    return _mean(np.array(rows).reshape(-1, 3), depth)


def pooled(repetitions: list[RankingScores]) -> RankingScores:
    """Means over the queries of several rankings."""
    rows = np.concatenate([scores.per_query for scores in repetitions])
    skipped = sum(scores.skipped for scores in repetitions)
    return dataclasses.replace(_mean(rows, len(repetitions[0].cmc)), skipped=skipped)


def _rank(
    blocks: Iterable[np.ndarray],
    labels: tuple[np.ndarray, ...],
    precision: Precision,
    ignore_camera: bool,
    depth: int,
) -> RankingScores:
    """Scores from the score matrix, given as consecutive blocks of rows [b,G].

    Args:
        labels: pids of query and gallery, cameras of query and gallery.
    """
    qp, gp, qc, gc = (np.ascontiguousarray(a, np.int64) for a in labels)
    results, start = [np.zeros((0, 3))], 0
    for block in blocks:
        rows = slice(start, start + len(block))
        scores = np.ascontiguousarray(block, np.float32)
        trapezoid = precision == "trapezoid"
        results.append(_per_query(scores, qp[rows], gp, qc[rows], gc, ignore_camera, trapezoid))
        start = rows.stop
    return _mean(np.concatenate(results), depth)


def _mean(rows: np.ndarray, depth: int) -> RankingScores:
    counted = rows[rows[:, 2] > 0]
    if not len(counted):
        raise ValueError(
            "no query has a positive in the gallery: check the identities, and the cameras if all are of one"
        )
    first = counted[:, 2]
    cmc = (first[:, None] <= np.arange(1, depth + 1)).mean(0)
    return RankingScores(
        float(counted[:, 0].mean()),
        float(counted[:, 1].mean()),
        cmc,
        len(counted),
        len(rows) - len(counted),
        counted,
    )


@numba.njit(cache=True)
def _ap_inp_first(ranks: np.ndarray, trapezoid: bool) -> tuple[float, float, float]:
    """AP, INP and first rank of ascending 1-based ranks; zeros when there are none."""
    count = len(ranks)
    if count == 0:
        return 0.0, 0.0, 0.0
    total = 0.0
    for j in range(count):
        r = ranks[j]
        precision = (j + 1) / r
        if trapezoid:
            before = 1.0 if r == 1 else j / (r - 1)
            total += (precision + before) / 2
        else:
            total += precision
    return total / count, count / ranks[-1], float(ranks[0])


@numba.njit(parallel=True, cache=True)
def _per_query(
    scores: np.ndarray,
    qp: np.ndarray,
    gp: np.ndarray,
    qc: np.ndarray,
    gc: np.ndarray,
    ignore_camera: bool,
    trapezoid: bool,
) -> np.ndarray:
    """float64 [Q,3]: AP, INP, first rank (0: no positive)."""
    queries, items = scores.shape
    out = np.zeros((queries, 3))
    junk = gp == JUNK
    for q in numba.prange(queries):
        same = gp == qp[q]
        positives = np.flatnonzero(same & ((gc != qc[q]) | ignore_camera))
        count = len(positives)
        if count == 0 or qp[q] == JUNK:
            continue
        row = scores[q]
        # mergesort is stable: equal scores keep gallery order
        positives = positives[np.argsort(-row[positives], kind="mergesort")]
        others = np.where(same | junk, np.float32(-np.inf), row)
        ranks = np.empty(count, np.int64)
        for j in range(count):
            p = positives[j]
            score = row[p]
            ahead = 0
            for g in range(p):  # two plain loops, which the compiler turns into vector instructions
                ahead += others[g] >= score
            for g in range(p + 1, items):
                ahead += others[g] > score
            ranks[j] = ahead + j + 1
        out[q] = _ap_inp_first(ranks, trapezoid)
    return out
