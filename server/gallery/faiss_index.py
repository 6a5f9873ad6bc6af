"""The index in memory, exact in half precision: FAISS over immutable segments, numpy over a small delta.
On request a segment has its rows as eight-bit integers too, which say which halves have to be looked at.

FAISS allows no change under a search, so nothing that a reader can see is ever changed. A generation is a
tuple of sealed segments and a delta; writers build the next generation and replace one reference. Removing
copies only the segments that hold a removed item: the vector is gone from memory, not hidden.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import faiss
import numpy as np

from server.gallery.index import SCORE_DIGITS, IndexFacts, SearchFilter
from server.gallery.int8_rows import Int8Rows
from server.gallery.scanning import scan

# items: one core searches as many of 2,048 halves in about 5 ms, and a removal copies 64 MB at most
SEGMENT = 16_384
DELTA = 2_048  # items that are searched in numpy before they are sealed
_Result = TypeVar("_Result")
# a segment is searched by one thread
_pool = ThreadPoolExecutor(os.cpu_count() or 2, thread_name_prefix="faiss")


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows of the index: seqs int64 [N] ascending, cameras int32 [N] (codes)."""

    seqs: np.ndarray
    cameras: np.ndarray

    def search(self, vector: np.ndarray, k: int, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """float32 [D], bool [N] -> (scores float32 [n], seqs int64 [n]): the k best and perhaps others."""
        raise NotImplementedError

    def take(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n,D] of rows int64 [n]."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Segment(Part):
    """Sealed rows inside FAISS."""

    index: faiss.IndexScalarQuantizer
    int8: Int8Rows | None = None

    def take(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n,D] of the halves of rows int64 [n]."""
        codes = faiss.rev_swig_ptr(self.index.codes.data(), self.index.codes.size())
        return codes.view("<f2").reshape(-1, self.index.d)[rows].astype(np.float32)

    def without(self, gone: np.ndarray) -> Segment | None:
        """Itself if none of these seqs is in it, else a copy that has the others; None if there are none."""
        keep = ~np.isin(self.seqs, gone)
        if keep.all():
            return self
        if not keep.any():
            return None
        halves = _halves(self.index, self.index.d)[keep]
        return _seal(self.seqs[keep], self.cameras[keep], halves, self.int8 is not None)

    def search(self, vector: np.ndarray, k: int, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = scan(self.index, vector, k, mask)
        return scores, self.seqs[rows]


@dataclasses.dataclass(frozen=True)
class _Delta(Part):
    """Fresh rows as float32 [N,D] (rounded to half, so that sealing changes no score)."""

    vectors: np.ndarray

    def search(self, vector: np.ndarray, k: int, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(self.seqs)) if mask is None else np.flatnonzero(mask)
        scores = self.vectors[rows] @ vector if mask is not None else self.vectors @ vector
        return best_of(scores, self.seqs[rows], k)

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.vectors[rows]


class _Rows(NamedTuple):
    """Rows that are put together: seqs int64 [N] ascending, cameras int32 [N] (codes), halves float16
    [N,D]."""

    seqs: np.ndarray
    cameras: np.ndarray
    halves: np.ndarray

    def take(self, rows: np.ndarray) -> _Rows:
        """Some of them, by a bool [N]."""
        return _Rows(self.seqs[rows], self.cameras[rows], self.halves[rows])

    def with_rows(self, others: _Rows) -> _Rows:
        """These and others, which replace those of the same seqs."""
        kept = self.take(~np.isin(self.seqs, others.seqs))
        seqs, cameras, halves = (np.concatenate(pair) for pair in zip(kept, others, strict=True))
        order = np.argsort(seqs)
        return _Rows(seqs[order], cameras[order], halves[order])


@dataclasses.dataclass(frozen=True)
class Generation:
    segments: tuple[Segment, ...]
    delta: _Delta

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.segments, self.delta) if len(self.delta.seqs) else self.segments


class FaissIndex:
    """A `GalleryIndex` in memory.

    Args:
        dim: length of the vectors. segment, delta: sizes, smaller in tests.
        int8: whether sealed rows are kept as integers as well.
    """

    def __init__(self, dim: int, segment: int = SEGMENT, delta: int = DELTA, int8: bool = False) -> None:
        self.dim, self.segment_rows, self.delta_rows, self.int8 = dim, segment, delta, int8
        self.lock = threading.Lock()  # of writers; readers take the reference once and need none
        self.camera_codes: dict[str, int] = {}  # only ever grows; -1 stands for no camera
        self.generation = Generation((), _no_delta(dim))

    def __len__(self) -> int:
        """Items it holds."""
        return sum(len(part.seqs) for part in self.generation.parts)

    @property
    def facts(self) -> IndexFacts:
        """See GalleryIndex."""
        return IndexFacts("int8" if self.int8 else "exact")

    def seqs(self) -> np.ndarray:
        """int64 [N]: what it holds, ascending."""
        parts = [part.seqs for part in self.generation.parts]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def add(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """See GalleryIndex. Raises ValueError for vectors of another length."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dim or len(vectors) != len(seqs):
            raise ValueError(f"expected [{len(seqs)}, {self.dim}] values, got {list(vectors.shape)}")
        halves = vectors.astype("<f2", copy=False)
        with self.lock:
            old = self.generation
            codes = np.array([self._code(camera) for camera in cameras], np.int32)
            fresh = (
                np.concatenate([old.delta.seqs, np.asarray(seqs, np.int64)]),
                np.concatenate([old.delta.cameras, codes]),
            )
            if len(fresh[0]) < self.delta_rows:
                delta = _Delta(*fresh, np.concatenate([old.delta.vectors, halves.astype(np.float32)]))
                self.generation = Generation(old.segments, delta)
            else:
                self.generation = self._sealed(
                    old.segments, *fresh, np.concatenate([old.delta.vectors.astype("<f2"), halves])
                )

    def put(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """See GalleryIndex. Copies the segments concerned."""
        fresh = np.asarray(seqs, np.int64)
        with self.lock:
            old = self.generation
            codes = np.array([self._code(camera) for camera in cameras], np.int32)
            rows = _Rows(fresh, codes, vectors.astype("<f2", copy=False))
            lasts = np.array([segment.seqs[-1] for segment in old.segments], np.int64)
            places = np.searchsorted(lasts, fresh)  # the delta is behind the last segment
            segments = list(old.segments)
            for place in np.unique(places[places < len(segments)]):
                segment = segments[place]
                held = _Rows(segment.seqs, segment.cameras, _halves(segment.index, self.dim))
                segments[place] = _seal(*held.with_rows(rows.take(places == place)), self.int8)
            delta, last = old.delta, rows.take(places == len(segments))
            if len(last.seqs):
                held = _Rows(delta.seqs, delta.cameras, delta.vectors.astype("<f2"))
                merged = held.with_rows(last)
                if len(merged.seqs) >= self.delta_rows:
                    self.generation = self._sealed(tuple(segments), *merged)
                    return
                delta = _Delta(merged.seqs, merged.cameras, merged.halves.astype(np.float32))
            self.generation = Generation(tuple(segments), delta)

    def remove(self, seqs: Sequence[int] | np.ndarray) -> None:
        """See GalleryIndex."""
        gone = np.asarray(seqs, np.int64)
        with self.lock:
            old = self.generation
            kept = [segment.without(gone) for segment in old.segments]
            keep = ~np.isin(old.delta.seqs, gone)
            delta = (
                old.delta
                if keep.all()
                else _Delta(*(a[keep] for a in (old.delta.seqs, old.delta.cameras, old.delta.vectors)))
            )
            self.generation = Generation(tuple(segment for segment in kept if segment is not None), delta)

    def search(
        self, vector: np.ndarray, k: int, where: SearchFilter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See GalleryIndex."""
        vector = np.ascontiguousarray(vector, np.float32)
        return self._search(self.generation.parts, vector, k, where)

    def vectors(self, seqs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See GalleryIndex."""
        return vectors_of(self.generation.parts, seqs, self.dim)

    def _search(
        self, parts: Sequence[Part], vector: np.ndarray, k: int, where: SearchFilter | None
    ) -> tuple[np.ndarray, np.ndarray]:
        masks = [self._mask(part, where) for part in parts]
        if not parts:
            return np.empty(0), np.empty(0, np.int64)
        results = self._of_parts(parts, masks, vector, k)
        scores, seqs = (np.concatenate(column) for column in zip(*results, strict=True))
        return best_of(scores, seqs, k)

    def _of_parts(
        self, parts: Sequence[Part], masks: Sequence[np.ndarray | None], vector: np.ndarray, k: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """What each part's search answers; together, all of the k best."""
        return run(lambda part, mask: part.search(vector, k, mask), parts, masks)

    def _mask(self, part: Part, where: SearchFilter | None) -> np.ndarray | None:
        if where is None or where.is_open:
            return None
        mask = np.ones(len(part.seqs), bool)
        if where.camera is not None:
            mask &= part.cameras == self.camera_codes.get(where.camera, -2)
        if where.exclude_camera is not None:
            mask &= part.cameras != self.camera_codes.get(where.exclude_camera, -2)
        if where.allowed is not None:
            mask &= np.isin(part.seqs, where.allowed, assume_unique=True)
        if where.left_out is not None:
            mask &= ~np.isin(part.seqs, where.left_out, assume_unique=True)
        return mask

    def _code(self, camera: str | None) -> int:
        return -1 if camera is None else self.camera_codes.setdefault(camera, len(self.camera_codes))

    def _sealed(
        self, segments: tuple[Segment, ...], seqs: np.ndarray, cameras: np.ndarray, halves: np.ndarray
    ) -> Generation:
        """Fresh rows in segments, with an empty delta; the last segment is filled up first."""
        kept = list(segments)
        if kept and len(kept[-1].seqs) < self.segment_rows:
            last = kept.pop()
            seqs, cameras = np.concatenate([last.seqs, seqs]), np.concatenate([last.cameras, cameras])
            halves = np.concatenate([_halves(last.index, self.dim), halves])
        for start in range(0, len(seqs), self.segment_rows):
            rows = slice(start, start + self.segment_rows)
            kept.append(_seal(seqs[rows], cameras[rows], halves[rows], self.int8))
        return Generation(tuple(kept), _no_delta(self.dim))


def run(
    search: Callable[[Part, np.ndarray | None], _Result],
    parts: Sequence[Part],
    masks: Sequence[np.ndarray | None],
) -> list[_Result]:
    """The search of each part, at the same time where there are many."""
    return list(_pool.map(search, parts, masks) if len(parts) > 2 else map(search, parts, masks))


def vectors_of(parts: Sequence[Part], seqs: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 [n] -> (which of them the parts hold, bool [n]; float32 [m,dim] of these)."""
    held, vectors = np.zeros(len(seqs), bool), np.empty((len(seqs), dim), np.float32)
    lasts = np.array([part.seqs[-1] for part in parts], np.int64)
    numbers = np.searchsorted(lasts, seqs)
    for number in np.unique(numbers[numbers < len(parts)]):
        part, here = parts[number], np.flatnonzero(numbers == number)
        rows = np.searchsorted(part.seqs, seqs[here])
        found = part.seqs[rows] == seqs[here]
        held[here[found]] = True
        vectors[here[found]] = part.take(rows[found])
    return held, vectors[held]


def _no_delta(dim: int) -> _Delta:
    return _Delta(np.empty(0, np.int64), np.empty(0, np.int32), np.empty((0, dim), np.float32))


def _seal(seqs: np.ndarray, cameras: np.ndarray, halves: np.ndarray, int8: bool) -> Segment:
    """float16 [N,D] -> a segment, which has its integers as well where `int8` is true.

    FAISS's fp16 codes are IEEE halves, so they are copied as they are.
    """
    index = faiss.IndexScalarQuantizer(
        halves.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.is_trained = True
    faiss.copy_array_to_vector(np.ascontiguousarray(halves, "<f2").view(np.uint8).ravel(), index.codes)
    index.ntotal = len(halves)
    integers = Int8Rows.of(halves) if int8 else None
    return Segment(np.ascontiguousarray(seqs), np.ascontiguousarray(cameras), index, integers)


def _halves(index: faiss.IndexScalarQuantizer, dim: int) -> np.ndarray:
    """float16 [N,D]: a copy of a segment's vectors."""
    return faiss.vector_to_array(index.codes).view("<f2").reshape(-1, dim)


def best_of(scores: np.ndarray, seqs: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best as float64, rounded to `SCORE_DIGITS`; equal ones by seq.

    Rounding makes equal vectors equal: a product of matrices gives them scores that differ in their last
    bits, by the row that they stand in. No cosine is beyond 1: the length of a vector in half precision is
    1 only to three digits, so the scores of a picture and its copies would be.
    """
    scores = np.clip(scores, -1, 1)
    if len(scores) > 4 * k:
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        near = scores >= kth - 10.0**-SCORE_DIGITS
        scores, seqs = scores[near], seqs[near]
    scores = np.round(scores.astype(np.float64), SCORE_DIGITS)
    order = np.lexsort((seqs, -scores))[:k]
    return scores[order], seqs[order]
