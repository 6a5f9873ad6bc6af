"""Which crops show one person, where nobody has said so. No torch.

Two crops belong together when they share most of their k-reciprocal neighbours (Zhong et al. 2017), and are
alike at all; a cluster is what hangs together by such pairs. How many neighbours are shared says the same at
every site, whereas a cosine that tells people apart at one site does not at another
(`python -m benchmarks.clusters`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from reid.reciprocal import close_pairs

# Chosen at rendered sites and at Market-1501's training part, for few wrong pairs.
NEIGHBOURS, AVERAGED, REACH = 10, 3, 0.5
# Few crops have fewer neighbours: where all are neighbours of all, that tells nothing.
_FEWEST, _CROPS_EACH = 4, 4
_RIGHT = 0.1  # a cosine at which fewer best matches are right tells nobody to be the same
_FLOORS = (0.3, 0.9)  # between which the least cosine that a calibration leads to lies
_COUNTS = 3  # after which the number of people changes little
_ROWS = 65_536  # pairs whose cosines are computed at once


def clusters_of(vectors: np.ndarray, floor: float) -> np.ndarray:
    """int64 [N]: the cluster of each crop, numbered in order of their first crops; -1 for one that stands
    alone.

    Args:
        vectors: float32 [N,D], unit length, as they are compared. floor: the lowest cosine of two crops that
            may belong together.
    """
    pairs, cosines = _close(vectors)
    return _joined(pairs[cosines >= floor], len(vectors))


def count_people(vectors: np.ndarray, floor_among: Callable[[int], float]) -> int:
    """How many people crops show: clusters, and crops that stand alone.

    The more people there are, the higher the cosine that two crops of one need. So they are counted as if
    each crop showed another, then among as many as that finds, and so on: too many rather than too few.

    Args:
        vectors: as for `clusters_of`. floor_among: the lowest cosine where there are so many people.
    """
    pairs, cosines = _close(vectors)
    people = len(vectors)
    for _ in range(_COUNTS):
        clusters = _joined(pairs[cosines >= floor_among(people)], len(vectors))
        people = int(clusters.max(initial=-1)) + 1 + int((clusters < 0).sum())
    return people


def least_cosine(slope: float, intercept: float) -> float:
    """The lowest cosine of two crops that may belong together, by a calibration at the gallery's size: that
    at which one best match in ten is right."""
    floor = (math.log(_RIGHT / (1 - _RIGHT)) - intercept) / slope
    return min(max(floor, _FLOORS[0]), _FLOORS[1])


def _close(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int32 [P,2] rows of crops that share most of their neighbours, and float32 [P], their cosines."""
    neighbours = min(NEIGHBOURS, max(_FEWEST, len(vectors) // _CROPS_EACH), len(vectors) - 1)
    if neighbours < 1:
        return np.empty((0, 2), np.int32), np.empty(0, np.float32)
    close = close_pairs(vectors, neighbours, min(AVERAGED, neighbours), REACH)
    cosines = np.empty(len(close), np.float32)
    for start in range(0, len(close), _ROWS):
        some = close[start : start + _ROWS]
        cosines[start : start + _ROWS] = np.einsum("pd,pd->p", vectors[some[:, 0]], vectors[some[:, 1]])
    return close, cosines


def _joined(pairs: np.ndarray, count: int) -> np.ndarray:
    """int64 [count]: what hangs together by pairs of rows, numbered as `clusters_of` does."""
    parents = np.arange(count)
    for one, other in pairs.tolist():
        low, high = sorted((_root(parents, one), _root(parents, other)))
        parents[high] = low
    roots = np.array([_root(parents, row) for row in range(count)], np.int64)
    firsts, sizes = np.unique(roots, return_counts=True)
    numbers = np.full(count, -1, np.int64)
    shared = firsts[sizes > 1]
    numbers[shared] = np.arange(len(shared))
    result: np.ndarray = numbers[roots]
    return result


def _root(parents: np.ndarray, row: int) -> int:
    """The first crop of a row's cluster; shortens the way there."""
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = int(parents[row])
    return row
