"""Which crops show one person, where nobody has said so. No torch.

Two crops belong together when they share most of their k-reciprocal neighbours (Zhong et al. 2017), and are
alike at all; a cluster is what hangs together by such pairs. How many neighbours are shared says the same at
every site, whereas a cosine that tells people apart at one site does not at another
(`python -m benchmarks.clusters`).
"""

from __future__ import annotations

import numpy as np

from reid.reciprocal import close_pairs

# Chosen at rendered sites and at Market-1501's training part, for few wrong pairs.
NEIGHBOURS, AVERAGED, REACH = 10, 3, 0.5
# Few crops have fewer neighbours: where all are neighbours of all, that tells nothing.
_FEWEST, _CROPS_EACH = 4, 4
_ROWS = 65_536  # pairs whose cosines are computed at once


def clusters_of(vectors: np.ndarray, floor: float) -> np.ndarray:
    """int64 [N]: the cluster of each crop, numbered in order of their first crops; -1 for one that stands
    alone.

    Args:
        vectors: float32 [N,D], unit length, as they are compared. floor: the lowest cosine of two crops that
            may belong together.
    """
    parents = np.arange(len(vectors))
    for one, other in _pairs(vectors, floor):
        low, high = sorted((_root(parents, one), _root(parents, other)))
        parents[high] = low
    roots = np.array([_root(parents, row) for row in range(len(vectors))], np.int64)
    firsts, sizes = np.unique(roots, return_counts=True)
    numbers = np.full(len(vectors), -1, np.int64)
    shared = firsts[sizes > 1]
    numbers[shared] = np.arange(len(shared))
    result: np.ndarray = numbers[roots]
    return result


def _pairs(vectors: np.ndarray, floor: float) -> list[tuple[int, int]]:
    """Rows of crops that belong together."""
    neighbours = min(NEIGHBOURS, max(_FEWEST, len(vectors) // _CROPS_EACH), len(vectors) - 1)
    if neighbours < 1:
        return []
    close = close_pairs(vectors, neighbours, min(AVERAGED, neighbours), REACH)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(close), _ROWS):
        some = close[start : start + _ROWS]
        cosines = np.einsum("pd,pd->p", vectors[some[:, 0]], vectors[some[:, 1]])
        pairs += [(int(one), int(other)) for one, other in some[cosines >= floor]]
    return pairs


def _root(parents: np.ndarray, row: int) -> int:
    """The first crop of a row's cluster; shortens the way there."""
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = int(parents[row])
    return row
