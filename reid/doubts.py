"""Which other person a crop looks most like. No torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

_BLOCK = 512  # queries whose cosines are in memory at once


def nearest_others(
    queries: np.ndarray, gallery: np.ndarray, starts: np.ndarray, barred: Sequence[Collection[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """(float32 [Q], int64 [Q]): of each query the cosine and the row of the most similar crop of anybody who
    is not barred; -inf and 0 where nobody is left.

    Args:
        queries: float32 [Q,D], unit length.
        gallery: float32 [N,D], unit length, the crops of one person beside each other.
        starts: int64 [P+1], the first row of each of P people, and N. barred: for each query the people, 0 to
            P-1, who do not count.
    """
    best, rows = np.full(len(queries), -np.inf, np.float32), np.zeros(len(queries), np.int64)
    for start in range(0, len(queries) if len(gallery) else 0, _BLOCK):
        scores = queries[start : start + _BLOCK] @ gallery.T  # [B,N]
        for line, people in zip(scores, barred[start : start + _BLOCK], strict=True):
            for person in people:
                line[starts[person] : starts[person + 1]] = -np.inf
        places = scores.argmax(axis=1)
        rows[start : start + _BLOCK] = places
        best[start : start + _BLOCK] = scores[np.arange(len(scores)), places]
    rows[np.isneginf(best)] = 0
    return best, rows


def nearest_people(
    queries: np.ndarray, gallery: np.ndarray, starts: np.ndarray, barred: Sequence[Collection[int]], most: int
) -> list[list[tuple[int, float]]]:
    """Of each query the people, with the cosines of their most similar crops, best first: `most` at most, and
    nobody who is barred.

    Args:
        queries, gallery, starts, barred: as of `nearest_others`; there is one person at least.
    """
    people = len(starts) - 1
    found: list[list[tuple[int, float]]] = []
    for start in range(0, len(queries), _BLOCK):
        scores = np.maximum.reduceat(
            queries[start : start + _BLOCK] @ gallery.T, starts[:-1], axis=1
        )  # [B,P]
        for line, others in zip(scores, barred[start : start + _BLOCK], strict=True):
            line[list(others)] = -np.inf
            best = np.argpartition(-line, most - 1)[:most] if most < people else np.arange(people)
            best = best[np.argsort(-line[best], kind="stable")]
            found.append([(int(each), float(line[each])) for each in best if line[each] > -np.inf])
    return found


def own_scores(gallery: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """float32 [N]: the cosine of each crop and the most similar other one of its own person; -inf for a crop
    that is the only one.

    Args:
        gallery, starts: as of `nearest_others`.
    """
    best = np.full(len(gallery), -np.inf, np.float32)
    for first, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        for start in range(first, end, _BLOCK):
            stop = min(start + _BLOCK, end)
            scores = gallery[start:stop] @ gallery[first:end].T
            scores[np.arange(stop - start), np.arange(start, stop) - first] = -np.inf  # itself
            best[start:stop] = scores.max(axis=1)
    return best
