"""k-reciprocal re-ranking of one query's nearest items (Zhong et al. 2017; methods A.5.5).

`reid/reranking.py` computes the same for all queries of an evaluation at once. Here the items are a few
hundred, so that everything is a dense product of matrices, in milliseconds and without compiling anything.
"""

from __future__ import annotations

import numpy as np

K1, K2, WEIGHT = 20, 6, 0.3  # as the paper has them


def rerank_nearest(
    query: np.ndarray, items: np.ndarray, k1: int = K1, k2: int = K2, weight: float = WEIGHT
) -> np.ndarray:
    """Re-ranked distances float32 [N] of one query's nearest items; lower is better.

    The query and these items are all that it knows of: who is whose neighbour is asked among them alone.
    Where there are fewer items than `k1`, neighbourhoods are as large as there are items.

    Args:
        query, items: float32 unit embeddings [D] and [N,D].
        k1: size of the neighbourhoods. k2: neighbours whose neighbourhoods are averaged. weight: lambda, the
            share of the original distance; 1 keeps the order of the cosines.
    """
    if len(items) == 0:
        return np.empty(0, np.float32)
    k1 = min(k1, len(items))
    k2 = min(k2, k1)
    x = np.concatenate([query[None], items]).astype(np.float32)
    squared = np.maximum(2 - 2 * (x @ x.T), 0)
    original = squared / np.maximum(squared.max(1, keepdims=True), np.finfo(np.float32).tiny)
    np.fill_diagonal(squared, -1)  # itself first, whatever rounding says
    near = np.argsort(squared, axis=1, kind="stable")[:, : k1 + 1]
    own = _reciprocal(near)  # R(i, k1)
    half = _reciprocal(near[:, : int(np.around(k1 / 2)) + 1])  # rounds half to even, as the published code
    shared = own @ half.T  # [i, j]: how many of j's half neighbourhood are among i's
    taken = own * (3 * shared > 2 * half.sum(1))
    encoded = np.exp(-original) * ((own + taken @ half) > 0)
    encoded /= encoded.sum(1, keepdims=True)
    if k2 > 1:
        encoded = encoded[near[:, :k2]].mean(1)
    overlap = np.minimum(encoded[0], encoded[1:]).sum(1)
    jaccard = 1 - overlap / (2 - overlap)
    return ((1 - weight) * jaccard + weight * original[0, 1:]).astype(np.float32)


def _reciprocal(near: np.ndarray) -> np.ndarray:
    """int [N,K], nearest first -> float32 [N,N]: 1 where two items are among each other's nearest."""
    among = np.zeros((len(near), len(near)), np.float32)
    np.put_along_axis(among, near, 1, axis=1)
    return among * among.T
