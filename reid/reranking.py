"""k-reciprocal re-ranking (Zhong et al. 2017; methods A.5.5): distances by the neighbours two crops share.

Sparse: memory grows with queries x gallery and with the neighbours, never with the square of all items. As a
ranking for offline evaluation only: a new query changes the neighbour lists of all others, so a server cannot
use it. A server groups its items by `close_pairs`, while other threads go on.
"""

from __future__ import annotations

import numba
import numpy as np

_BLOCK = 1024  # rows of the full distance matrix in memory at once


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
    members, values, counts, farthest = _encodings(everything, k1, k2)
    starts, items, shares = _by_member(members, values, counts, len(query))
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
    members, values, counts, _ = _encodings(vectors, k1, k2)
    inverted = _by_member(members, values, counts, 0)
    none = np.zeros((len(vectors), len(vectors)), np.float32)
    return _blend(none, members, values, counts, *inverted, np.float32(0))


def close_pairs(vectors: np.ndarray, k1: int, k2: int, reach: float) -> np.ndarray:
    """int32 [P,2], the lesser row first: pairs of items whose `jaccard_distances` are `reach`, below 1, or
    less. Memory grows with the pairs and not with the square of the items.

    Args:
        vectors: float32 unit embeddings [N,D]. k1, k2: as in `rerank`, which raises what this raises.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    members, values, counts, _ = _encodings(vectors, k1, k2)
    return _close(members, values, counts, *_by_member(members, values, counts, 0), np.float32(reach))


def _encodings(
    vectors: np.ndarray, k1: int, k2: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Members, values and counts as `_expand` returns them, and how far each item's farthest other one is.

    Raises ValueError for a k1 that the data cannot fill or a k2 beyond it.
    """
    if not 1 <= k2 <= k1 < len(vectors):
        raise ValueError(f"k1 {k1} and k2 {k2} do not fit {len(vectors)} items: choose 1 <= k2 <= k1 < items")
    near, farthest = _neighbours(vectors, k1 + 1)
    half = int(np.around(k1 / 2)) + 1  # rounds half to even, as the published code does
    members, values, counts = _encode(
        vectors, farthest, near, _reciprocal(near, k1 + 1), _reciprocal(near, half)
    )
    if k2 > 1:
        members, values, counts = _expand(near, members, values, counts, k2)
    return members, values, counts, farthest


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


def _neighbours(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest items of each item, and how far the farthest item is.

    Returns int32 [N,count], nearest first and each item its own first, and float32 [N], squared distances.
    """
    near, farthest = np.empty((len(x), count), np.int32), np.empty(len(x), np.float32)
    for start in range(0, len(x), _BLOCK):
        distances = np.maximum(2 - 2 * (x[start : start + _BLOCK] @ x.T), 0)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = -1  # itself first, whatever rounding says
        farthest[start : start + _BLOCK] = distances.max(1)
        best = np.sort(np.argpartition(distances, count - 1, axis=1)[:, :count], axis=1)
        order = np.argsort(np.take_along_axis(distances, best, 1), axis=1, kind="stable")
        near[start : start + _BLOCK] = np.take_along_axis(best, order, 1)
    return near, np.maximum(farthest, np.finfo(np.float32).tiny)


@numba.njit(parallel=True, nogil=True, cache=True)
def _reciprocal(near: np.ndarray, count: int) -> np.ndarray:
    """int32 [N,count]: those of the `count` nearest that have the item among theirs, padded with -1."""
    mutual = np.full((len(near), count), -1, np.int32)
    for i in numba.prange(len(near)):
        filled = 0
        for j in near[i, :count]:
            for back in near[j, :count]:
                if back == i:
                    mutual[i, filled] = j
                    filled += 1
                    break
    return mutual


@numba.njit(cache=True)
def _holds(row: np.ndarray, count: int, value: int) -> bool:
    """Whether one of the first `count` values is `value`.

    A loop, since numba 0.68 miscompiles `(row[:count] == value).any()` in a prange.
    """
    held = False
    for place in range(count):
        held |= row[place] == value
    return held


@numba.njit(parallel=True, nogil=True, cache=True)
def _encode(
    x: np.ndarray, farthest: np.ndarray, near: np.ndarray, whole: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each item as weights over its expanded neighbourhood.

    Returns members int32 [N,cap], values float32 [N,cap] and counts [N], the filled part of each row.
    """
    cap = whole.shape[1] * (1 + half.shape[1])
    members = np.empty((len(x), cap), np.int32)
    values = np.empty((len(x), cap), np.float32)
    counts = np.zeros(len(x), np.int32)
    for i in numba.prange(len(x)):
        mutual = whole[i][whole[i] >= 0]
        count = len(mutual)
        members[i, :count] = mutual
        for j in mutual:
            candidate = half[j][half[j] >= 0]
            shared = 0
            for c in candidate:
                shared += _holds(mutual, len(mutual), c)
            if 3 * shared > 2 * len(candidate):
                for c in candidate:
                    if not _holds(members[i], count, c):
                        members[i, count] = c
                        count += 1
        total = np.float32(0)
        for m in range(count):
            cosine = np.float32(0)
            for d in range(x.shape[1]):  # np.dot would need scipy
                cosine += x[i, d] * x[members[i, m], d]
            distance = max(np.float32(0), np.float32(2) - np.float32(2) * cosine)
            values[i, m] = np.exp(-distance / farthest[i])
            total += values[i, m]
        values[i, :count] /= total
        counts[i] = count
    return members, values, counts


@numba.njit(parallel=True, nogil=True, cache=True)
def _expand(
    near: np.ndarray, members: np.ndarray, values: np.ndarray, counts: np.ndarray, k2: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of each item's k2 nearest encodings, itself included."""
    widest = 0
    for i in range(len(near)):
        width = 0
        for j in near[i, :k2]:
            width += counts[j]
        widest = max(widest, width)
    out_members = np.empty((len(near), widest), np.int32)
    out_values = np.empty((len(near), widest), np.float32)
    out_counts = np.zeros(len(near), np.int32)
    for i in numba.prange(len(near)):
        count = 0
        for j in near[i, :k2]:
            for m in range(counts[j]):
                place = 0
                while place < count and out_members[i, place] != members[j, m]:
                    place += 1
                if place == count:
                    out_members[i, count] = members[j, m]
                    out_values[i, count] = 0
                    count += 1
                out_values[i, place] += values[j, m] / np.float32(k2)
        out_counts[i] = count
    return out_members, out_values, out_counts


def _by_member(
    members: np.ndarray, values: np.ndarray, counts: np.ndarray, queries: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gallery's encodings inverted: for each member, the gallery items that contain it, and weights."""
    filled = np.arange(members.shape[1]) < counts[queries:, None]
    member, share = members[queries:][filled], values[queries:][filled]
    item = np.repeat(np.arange(len(counts) - queries, dtype=np.int32), counts[queries:])
    order = np.argsort(member, kind="stable")
    return np.searchsorted(member[order], np.arange(len(counts) + 1)), item[order], share[order]


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


@numba.njit(nogil=True, cache=True)
def _close(
    members: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
    starts: np.ndarray,
    items: np.ndarray,
    shares: np.ndarray,
    reach: np.float32,
) -> np.ndarray:
    """See close_pairs. Items without a common member are not looked at: their distance is 1."""
    pairs, filled = np.empty((1024, 2), np.int32), 0
    overlap, touched = np.zeros(len(counts), np.float32), np.empty(len(counts), np.int32)
    for i in range(len(counts)):
        seen = 0
        for m in range(counts[i]):
            for place in range(starts[members[i, m]], starts[members[i, m] + 1]):
                j = items[place]
                if j <= i:
                    continue
                if overlap[j] == 0:
                    touched[seen] = j
                    seen += 1
                overlap[j] += min(values[i, m], shares[place])
        for j in touched[:seen]:
            if np.float32(1) - overlap[j] / (np.float32(2) - overlap[j]) <= reach:
                if filled == len(pairs):
                    wider = np.empty((2 * filled, 2), np.int32)
                    wider[:filled] = pairs
                    pairs = wider
                pairs[filled, 0], pairs[filled, 1] = i, j
                filled += 1
            overlap[j] = 0
    return pairs[:filled]
