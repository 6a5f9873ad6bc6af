"""k-reciprocal encodings (Zhong et al. 2017; methods A.5.5): each item as weights over those that are its
neighbours as it is theirs. Items are alike where they share these.

Plain numpy, since a server groups its items by `close_pairs`: whoever asks first would wait half a minute for
a compiler. Memory grows with the neighbours, never with the square of all items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_BLOCK = 1024  # rows of the full distance matrix in memory at once
_ROWS = 64  # items whose members' vectors are in memory at once
_OVERLAPS = 256  # items whose overlaps with all are in memory at once


class Encodings(NamedTuple):
    """Items as weights over others.

    Args:
        members: int32 [N,cap], ascending in the filled part. values: float32 [N,cap], whose sum is 1; 0 where
            not filled. counts: int32 [N], the filled part of each row.
        farthest: float32 [N], the squared distance of each item's farthest other one.
    """

    members: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    farthest: np.ndarray


def encode(vectors: np.ndarray, k1: int, k2: int) -> Encodings:
    """Encodings of items, averaged over their nearest ones.

    Args:
        vectors: float32 unit embeddings [N,D]. k1: size of the neighbourhoods. k2: neighbours, an item itself
            being one, whose neighbourhoods are averaged.

    Raises ValueError for a k1 that the data cannot fill or a k2 beyond it.
    """
    if not 1 <= k2 <= k1 < len(vectors):
        raise ValueError(f"k1 {k1} and k2 {k2} do not fit {len(vectors)} items: choose 1 <= k2 <= k1 < items")
    near, farthest = _neighbours(vectors, k1 + 1)
    half = int(np.around(k1 / 2)) + 1  # rounds half to even, as the published code does
    whole = _reciprocal(near, k1 + 1)
    members = _expanded(whole, _reciprocal(near, half))
    values = _weights(vectors, members, farthest)
    if k2 > 1:
        members, values = _averaged(near[:, :k2], members, values)
    return Encodings(members, values, (members >= 0).sum(1).astype(np.int32), farthest)


def close_pairs(vectors: np.ndarray, k1: int, k2: int, reach: float) -> np.ndarray:
    """int32 [P,2], the lesser row first: pairs of items whose Jaccard distance, how few neighbours they
    share, is `reach`, below 1, or less.

    Args:
        vectors: float32 unit embeddings [N,D]. k1, k2: as for `encode`, which raises what this raises.
    """
    encodings = encode(np.ascontiguousarray(vectors, np.float32), k1, k2)
    pairs = [np.empty((0, 2), np.int32)]
    for start, overlap in _overlaps(encodings):
        distances = 1 - overlap / (2 - overlap)
        distances[np.arange(len(vectors)) <= start + np.arange(len(overlap))[:, None]] = 1
        one, other = np.nonzero(distances <= np.float32(reach))
        pairs.append(np.stack([one + start, other], axis=1).astype(np.int32))
    return np.concatenate(pairs)


def by_member(encodings: Encodings, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encodings from item `first` on, inverted: int64 [N+1] where the items of each member start, int32 [M]
    these items, counted from `first`, and float32 [M] weights."""
    rows, columns = np.nonzero(encodings.members[first:] >= 0)
    member, share = encodings.members[first:][rows, columns], encodings.values[first:][rows, columns]
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(len(encodings.members) + 1))
    return starts, rows[order].astype(np.int32), share[order]


def _overlaps(encodings: Encodings) -> Iterator[tuple[int, np.ndarray]]:
    """Some items at a time: the first one, and float32 [n,N], of each with all items the sum of the lesser
    weights of members of both."""
    starts, items, shares = by_member(encodings, 0)
    sizes, count = np.diff(starts), len(encodings.members)
    for start in range(0, count, _OVERLAPS):
        members = encodings.members[start : start + _OVERLAPS]
        rows, columns = np.nonzero(members >= 0)
        member, values = members[rows, columns], encodings.values[start : start + _OVERLAPS][rows, columns]
        lengths = sizes[member]
        # the places of every item that has one of these members
        begins = np.repeat(starts[member] - np.cumsum(lengths) + lengths, lengths)
        places = begins + np.arange(int(lengths.sum()))
        least = np.minimum(np.repeat(values, lengths), shares[places])
        cells = np.repeat(rows, lengths) * count + items[places]
        sums = np.bincount(cells, least, len(members) * count)
        yield start, sums.astype(np.float32).reshape(len(members), count)


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


def _reciprocal(near: np.ndarray, count: int) -> np.ndarray:
    """int32 [N,count]: those of the `count` nearest that have the item among theirs; -1 in the others'
    places."""
    near = near[:, :count]
    mutual = np.empty_like(near)
    for start in range(0, len(near), _BLOCK):
        some = near[start : start + _BLOCK]
        items = np.arange(start, start + len(some))[:, None, None]
        mutual[start : start + _BLOCK] = np.where((near[some] == items).any(2), some, -1)
    return mutual


def _expanded(whole: np.ndarray, half: np.ndarray) -> np.ndarray:
    """int32 [N,cap], ascending, then -1: the reciprocal neighbours of each item, and those of each of these
    neighbours, by half as many, that mostly are the item's own."""
    rows = []
    for start in range(0, len(whole), _OVERLAPS):
        mutual = whole[start : start + _OVERLAPS]  # [B,K]
        candidates = np.where((mutual >= 0)[:, :, None], half[mutual], -1)  # [B,K,H]
        held = (candidates[..., None] == mutual[:, None, None]).any(3) & (candidates >= 0)
        taken = 3 * held.sum(2) > 2 * (candidates >= 0).sum(2)  # [B,K]
        added = np.where(taken[:, :, None], candidates, -1).reshape(len(mutual), -1)
        rows.append(_without_doubles(np.concatenate([mutual, added], axis=1)))
    cap = max(part.shape[1] for part in rows)
    return np.concatenate(
        [np.pad(part, ((0, 0), (0, cap - part.shape[1])), constant_values=-1) for part in rows]
    )


def _without_doubles(members: np.ndarray) -> np.ndarray:
    """Each row's values without -1, each once, ascending, then -1."""
    last = np.iinfo(members.dtype).max
    ordered = np.sort(np.where(members < 0, last, members), axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = last
    ordered.sort(axis=1)
    width = int((ordered < last).sum(1).max(initial=1))
    return np.where(ordered < last, ordered, -1)[:, :width]


def _weights(x: np.ndarray, members: np.ndarray, farthest: np.ndarray) -> np.ndarray:
    """float32 [N,cap]: how near each member is, of a sum of 1; 0 in the places of none."""
    values = np.empty(members.shape, np.float32)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        some = members[rows, : int((members[rows] >= 0).sum(1).max())]
        cosines = (x[some] @ x[rows, :, None])[..., 0]
        distances = np.maximum(2 - 2 * cosines, 0)
        near = np.where(some >= 0, np.exp(-distances / farthest[rows, None]), 0)
        values[rows] = 0
        values[rows, : some.shape[1]] = near / near.sum(1, keepdims=True)
    return values


def _averaged(near: np.ndarray, members: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the encodings of some items [N,k] each, as members and values."""
    parts = []
    for start in range(0, len(near), _BLOCK):
        some = near[start : start + _BLOCK]
        filled = members[some] >= 0  # [B,k,cap]
        rows = np.nonzero(filled)[0]
        of, share = members[some][filled].astype(np.int64), values[some][filled]
        keys, inverse = np.unique(rows * len(members) + of, return_inverse=True)
        sums = np.bincount(inverse, share / np.float32(near.shape[1])).astype(np.float32)
        parts.append((keys + start * len(members), sums))
    keys, sums = (np.concatenate(column) for column in zip(*parts, strict=True))
    rows, of = keys // len(members), keys % len(members)
    counts = np.bincount(rows, minlength=len(members))
    columns = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(members), int(counts.max()))
    out, shares = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    out[rows, columns], shares[rows, columns] = of, sums
    return out, shares
