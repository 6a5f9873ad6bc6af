"""The index with its sealed rows on a GPU as well. The CPU's index stays: it has the rows in half precision,
from which every score is computed again, and it answers where the GPU cannot.

What the GPU fetches is never taken on trust. It compares in half precision, so more than k rows are fetched;
their order is that of their scores in float32, and they count only if no row that was not fetched can belong
to the k best.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from reid.engines import Fallbacks
from server.gallery.faiss_index import DELTA, SEGMENT, FaissIndex, Part, Segment
from server.gallery.gpu import MOST, Gpu, GpuRows, GpuSearchError
from server.gallery.index import SCORE_DIGITS, SearchFilter

log = logging.getLogger("resight")
GROUP = 8  # segments that become one copy; every copy costs a search of its own
MARGINS = (64, 1024)  # rows fetched beside the k that are wanted
BY_CPU = "searches that the CPU answered instead of the GPU"
NOT_COPIED = "rows of a gallery that are not on the GPU"


@dataclasses.dataclass(frozen=True)
class _Copy(Part):
    """Segments whose rows are on the GPU too, in their order.

    Args:
        hidden: bool [N], rows that were removed while they are still on the GPU; None: there are none.
    """

    segments: tuple[Segment, ...]
    on_gpu: GpuRows
    gpu: Gpu
    fallbacks: Fallbacks
    hidden: np.ndarray | None = None

    def hide(self, gone: np.ndarray) -> _Copy:
        """The same without these seqs."""
        hidden = np.isin(self.seqs, gone)
        return dataclasses.replace(self, hidden=hidden if self.hidden is None else hidden | self.hidden)

    def search(self, vector: np.ndarray, k: int, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """See Part."""
        allowed = mask
        if self.hidden is not None:
            allowed = ~self.hidden if mask is None else mask & ~self.hidden
        count = len(self.seqs) if allowed is None else int(allowed.sum())
        k = min(k, count)
        if k == 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        try:
            return self._by_gpu(vector, k, allowed, count)
        except GpuSearchError as error:
            self.fallbacks.note(BY_CPU, str(error))
        return self._by_cpu(vector, k, allowed)

    def _by_gpu(
        self, vector: np.ndarray, k: int, allowed: np.ndarray | None, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if k > MOST:
            raise GpuSearchError(f"FAISS returns {MOST} rows of a GPU at most; {k} are wanted")
        for margin in MARGINS:
            fetched = min(k + margin, count, MOST)
            near, rows = self.gpu.search(self.on_gpu, vector, fetched, allowed)
            require_allowed(rows, len(self.seqs), allowed)
            exact = self._scores(rows, vector)
            if fetched == count or _are_the_best(near, exact, k, vector):
                return exact, self.seqs[rows]
        raise GpuSearchError("too many rows are as similar as the last that is wanted, in half precision")

    def _by_cpu(
        self, vector: np.ndarray, k: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        results, start = [], 0
        for segment in self.segments:
            rows = slice(start, start + len(segment.seqs))
            results.append(segment.search(vector, k, None if allowed is None else allowed[rows]))
            start = rows.stop
        scores, seqs = (np.concatenate(column) for column in zip(*results, strict=True))
        return scores, seqs

    def _scores(self, rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """float32 [n] of rows int64 [n], from the halves."""
        starts = np.cumsum([0, *(len(segment.seqs) for segment in self.segments)])
        numbers = np.searchsorted(starts, rows, side="right") - 1
        scores = np.empty(len(rows), np.float32)
        for number in np.unique(numbers):
            here = numbers == number
            scores[here] = self.segments[number].take(rows[here] - starts[number]) @ vector
        return scores


class GpuIndex(FaissIndex):
    """A `GalleryIndex` in memory and on a GPU: full segments are on it, the rest is searched by the CPU.

    Args:
        dim: length of the vectors. fallbacks: where it is noted that the CPU searched.
        segment, delta, group: sizes, smaller in tests.
    """

    def __init__(
        self,
        dim: int,
        gpu: Gpu,
        fallbacks: Fallbacks,
        segment: int = SEGMENT,
        delta: int = DELTA,
        group: int = GROUP,
    ) -> None:
        super().__init__(dim, segment, delta)
        self.gpu, self.fallbacks, self.group = gpu, fallbacks, group
        self.changing = threading.Lock()  # of writers, around the lock of the CPU's index
        self.copies: tuple[Segment | _Copy, ...] = ()  # every segment, on the GPU or alone
        self.shown: tuple[Part, ...] = ()  # what searches see

    def add(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """See GalleryIndex. Raises ValueError for vectors of another length."""
        with self.changing:
            super().add(seqs, cameras, vectors)
            self._copy_changed(self._matched())
        self.gpu.settle()

    def put(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """See GalleryIndex. Searches see the old rows until the copies concerned are made anew."""
        with self.changing:
            super().put(seqs, cameras, vectors)
            self._copy_changed(self._matched())
        self.gpu.settle()

    def remove(self, seqs: Sequence[int] | np.ndarray) -> None:
        """See GalleryIndex. Searches miss the items at once; then their copies are made anew without them."""
        gone = np.asarray(seqs, np.int64)
        with self.changing:
            super().remove(gone)
            matched = self._matched()
            self._show(_without(matched, gone))
            self._copy_changed(matched)
        self.gpu.settle()

    def search(
        self, vector: np.ndarray, k: int, where: SearchFilter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See GalleryIndex."""
        return self._search(self.shown, np.ascontiguousarray(vector, np.float32), k, where)

    def _matched(self) -> list[tuple[Segment | _Copy | None, tuple[Segment, ...]]]:
        """What there is of each copy's rows today; None stands before each segment that is new."""
        left = deque(self.generation.segments)
        matched: list[tuple[Segment | _Copy | None, tuple[Segment, ...]]] = []
        for copy in self.copies:
            segments = []
            while left and left[0].seqs[0] <= copy.seqs[-1]:
                segments.append(left.popleft())
            matched.append((copy, tuple(segments)))
        return matched + [(None, (segment,)) for segment in left]

    def _copy_changed(self, matched: list[tuple[Segment | _Copy | None, tuple[Segment, ...]]]) -> None:
        """Makes what has changed anew and shows it. Empties `matched`, so that the old copies are freed."""
        copies: list[Segment | _Copy] = []
        while matched:
            copy, segments = matched.pop(0)
            if isinstance(copy, _Copy) and _same(copy.segments, segments):
                copies.append(copy)
            elif isinstance(copy, _Copy) and len(segments) > 1:
                copies.extend(self._copied(segments, segments))
            else:
                copies.extend(segments)
        joined: list[Segment | _Copy] = []
        for chunk in self._chunks(copies):
            joined.extend(self._joined(chunk))
        self.copies = tuple(joined)
        self._show(joined)

    def _chunks(self, copies: list[Segment | _Copy]) -> list[list[Segment | _Copy]]:
        """Copies of several segments each alone, the others in runs of at most `group`."""
        chunks: list[list[Segment | _Copy]] = []
        for copy in copies:
            last = chunks[-1] if chunks else []
            if last and len(last) < self.group and all(len(_segments(each)) == 1 for each in [*last, copy]):
                last.append(copy)
            else:
                chunks.append([copy])
        return chunks

    def _joined(self, chunk: list[Segment | _Copy]) -> Iterable[Segment | _Copy]:
        """A whole chunk as one copy, the segments of any other each as its own; not the one that fills up."""
        segments = tuple(each for copy in chunk for each in _segments(copy))
        if len(chunk) == self.group and self._is_sealed(segments[-1]):
            return self._copied(segments, chunk)
        copies: list[Segment | _Copy] = []
        for copy in chunk:
            if isinstance(copy, Segment) and self._is_sealed(copy):
                copies.extend(self._copied((copy,), (copy,)))
            else:
                copies.append(copy)
        return copies

    def _is_sealed(self, segment: Segment) -> bool:
        """Whether no more items are put into it."""
        return len(segment.seqs) >= self.segment_rows or segment is not self.generation.segments[-1]

    def _copied(
        self, segments: tuple[Segment, ...], instead: Sequence[Segment | _Copy]
    ) -> Sequence[Segment | _Copy]:
        """The segments as one copy; `instead` where the GPU takes no more."""
        try:
            on_gpu = self.gpu.put((each.take(np.arange(len(each.seqs))) for each in segments), self.dim)
        except GpuSearchError as error:
            log.warning("rows are searched by the CPU, since the GPU does not take them: %s", error)
            self.fallbacks.note(NOT_COPIED, str(error))
            return instead
        seqs = np.concatenate([each.seqs for each in segments])
        cameras = np.concatenate([each.cameras for each in segments])
        return (_Copy(seqs, cameras, segments, on_gpu, self.gpu, self.fallbacks),)

    def _show(self, parts: Iterable[Part]) -> None:
        delta = self.generation.delta
        self.shown = (*parts, delta) if len(delta.seqs) else tuple(parts)


def _without(
    matched: Iterable[tuple[Segment | _Copy | None, tuple[Segment, ...]]], gone: np.ndarray
) -> Iterator[Part]:
    """What can be searched at once: copies that hide these seqs, and segments that lack them."""
    for copy, segments in matched:
        if isinstance(copy, _Copy):
            yield copy.hide(gone)
        else:
            yield from segments


def _same(some: Sequence[Segment], others: Sequence[Segment]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _segments(copy: Segment | _Copy) -> tuple[Segment, ...]:
    return copy.segments if isinstance(copy, _Copy) else (copy,)


def require_allowed(rows: np.ndarray, count: int, allowed: np.ndarray | None) -> None:
    """Raises GpuSearchError unless rows int64 [n] are different ones of `count`, and among the allowed."""
    if ((rows < 0) | (rows >= count)).any() or len(np.unique(rows)) < len(rows):
        raise GpuSearchError("FAISS named rows that do not exist, or one twice")
    if allowed is not None and not allowed[rows].all():
        raise GpuSearchError("FAISS named rows that the filter leaves out")


def _are_the_best(near: np.ndarray, exact: np.ndarray, k: int, vector: np.ndarray) -> bool:
    """Whether the k best are among the rows that were fetched.

    Args:
        near, exact: float32 [n], the scores of the GPU and those in float32.
    """
    lost = float(np.linalg.norm(vector - vector.astype(np.float16).astype(np.float32)))
    # rows have unit length, but for what their halves lost; the rest is what the products add to it
    off = max(1.01 * lost + 1e-5, 2 * float(np.abs(near - exact).max()))
    last = min(np.partition(exact, len(exact) - k)[len(exact) - k], 1.0)  # scores beyond 1 become equal
    return bool(last - 10.0**-SCORE_DIGITS > near.min() + off)
