"""k-reciprocal re-ranking (Zhong et al. 2017; methods A.5.5): distances by the neighbours two crops share.

Sparse: memory grows with queries x gallery and with the neighbours, never with the square of all items. For
offline evaluation only: a new query changes the neighbour lists of all others, so a server cannot use it.
"""

from __future__ import annotations

import numba
import numpy as np

from reid.reciprocal import by_member, encode


def rerank(
    query: np.ndarray, gallery: np.ndarray, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> np.ndarray:
    """Re-ranked distances float32 [Q,G]; lower is better.

    Args:
        query, gallery: float32 unit embeddings [Q,D] and [G,D].
        k1: size of the neighbourhoods. k2: neighbours whose neighbourhoods are averaged. weight: lambda, the
            share of the original distance; 1 keeps every ranking as it was.

    Raises ValueError for a k1 that the data cannot fill or a k2 beyond it.
    """
    everything = np.ascontiguousarray(np.concatenate([query, gallery]), np.float32)
    encodings = encode(everything, k1, k2)
    members, values, counts, farthest = encodings
    starts, items, shares = by_member(encodings, len(query))
    q = len(query)
    original = (
        np.maximum(2 - 2 * (query.astype(np.float32) @ gallery.astype(np.float32).T), 0) / farthest[:q, None]
    )
    return _blend(
        original.astype(np.float32), members, values, counts, starts, items, shares, np.float32(weight)
    )


def jaccard_distances(vectors: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """float32 [N,N], 0 to 1: how few neighbours two items share, without any share of the original distance.

    Args:
        vectors: float32 unit embeddings [N,D]. k1, k2: as in `rerank`, which raises what this raises.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    encodings = encode(vectors, k1, k2)
    members, values, counts, _ = encodings
    none = np.zeros((len(vectors), len(vectors)), np.float32)
    return _blend(none, members, values, counts, *by_member(encodings, 0), np.float32(0))


def expand_queries(query: np.ndarray, gallery: np.ndarray, k: int, alpha: float = 3.0) -> np.ndarray:
    """Unit embeddings float32 [Q,D] of the queries, averaged with their k best matches.

    Each match is weighted by cosine ** alpha (alpha query expansion, Radenovic et al. 2018).

    Args:
        query, gallery: float32 unit embeddings [Q,D] and [G,D].

    Raises ValueError unless 1 <= k <= G.
    """
    if not 1 <= k <= len(gallery):
        raise ValueError(
            f"query expansion by {k} matches: choose 1 to {len(gallery)}, the size of the gallery"
        )
    scores = query @ gallery.T
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    weights = np.maximum(np.take_along_axis(scores, best, 1), 0) ** alpha
    mixed = query + np.einsum("qk,qkd->qd", weights, gallery[best])
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


@numba.njit(parallel=True, cache=True)
def _blend(
    original: np.ndarray,
    members: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
    starts: np.ndarray,
    items: np.ndarray,
    shares: np.ndarray,
    weight: np.float32,
) -> np.ndarray:
    """(1 - weight) Jaccard + weight original, written into `original`."""
    queries, gallery = original.shape
    for q in numba.prange(queries):
        overlap = np.zeros(gallery, np.float32)
        for m in range(counts[q]):
            for place in range(starts[members[q, m]], starts[members[q, m] + 1]):
                overlap[items[place]] += min(values[q, m], shares[place])
        for g in range(gallery):
            jaccard = np.float32(1) - overlap[g] / (np.float32(2) - overlap[g])
            original[q, g] = (np.float32(1) - weight) * jaccard + weight * original[q, g]
    return original
