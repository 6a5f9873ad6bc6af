"""The index for very many items: a shortlist names candidates, the halves score them.

Rows that the shortlist does not know yet are scanned, so every item is found from the moment it is enrolled.
Candidates are looked up in the generation that is searched: what was removed is in no answer, whatever the
shortlist says. Filters are applied to candidates, exactly; the more a filter leaves out, the more candidates
are fetched. Where too few of them pass, or too few rows would, the halves are scanned.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from server.gallery.faiss_index import DELTA, SEGMENT, FaissIndex, Generation, Part, best_of
from server.gallery.index import IndexFacts, SearchFilter
from server.gallery.shortlist import Shortlist
from server.gallery.shortlist_builder import ShortlistBuilder

TIMES, BESIDE = 2, 32  # candidates for each row that is wanted, and some beside
MOST = 4_096  # candidates of one search
FEWEST_LEFT = 1 / 16  # of all rows: a filter that leaves fewer has the halves scanned
STALE = 0.1  # of a shortlist's rows: as many new, changed or forgotten ones have it built anew
BLOCK = 512  # rows that are added to a shortlist at once; a removal waits for them
RECALL, MEASURED, MEASURED_BEST = 0.99, 100, 10  # at least, by so many of its rows as queries, among so many


class _Listing(NamedTuple):
    """A shortlist that is used: seqs int64 [n] of rows that it knows otherwise than they are now, how wide
    its searches are, the share of the best that it finds, how many times as fast it is as a scan."""

    shortlist: Shortlist
    changed: np.ndarray
    width: int
    recall: float
    speed_up: float


class ShortlistIndex(FaissIndex):
    """A `GalleryIndex` in memory.

    Args:
        dim: length of the vectors. factory: of its `Shortlist`. least: items from which it has one.
        builder: makes it. segment, delta: sizes, smaller in tests.
    """

    def __init__(
        self,
        dim: int,
        factory: str,
        least: int,
        builder: ShortlistBuilder,
        segment: int = SEGMENT,
        delta: int = DELTA,
    ) -> None:
        super().__init__(dim, segment, delta)
        self.factory, self.least, self.builder = factory, least, builder
        self.building = threading.Lock()  # of whoever changes a shortlist
        self.listing: _Listing | None = None
        self.growing: Shortlist | None = None
        self.changed_since: list[np.ndarray] = []  # while it grows
        self.refused: tuple[str, int] | None = None  # why, and with how many items

    def add(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """See GalleryIndex."""
        super().add(seqs, cameras, vectors)
        self.builder.consider(self)

    def put(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """See GalleryIndex. Rows that a shortlist has are scanned from now on."""
        fresh = np.asarray(seqs, np.int64)
        with self.building:  # noted before it is done: a search may see it done already
            if self.growing is not None:
                self.changed_since.append(fresh)
            if self.listing is not None:
                changed = np.union1d(self.listing.changed, fresh)
                self.listing = self.listing._replace(changed=changed)
            super().put(seqs, cameras, vectors)
        self.builder.consider(self)

    def remove(self, seqs: Sequence[int] | np.ndarray) -> None:
        """See GalleryIndex."""
        gone = np.asarray(seqs, np.int64)
        super().remove(gone)
        with self.building:
            if self.growing is not None:
                self.growing.forget(gone)
            if self.listing is not None:
                self.listing.shortlist.forget(gone)
        self.builder.consider(self)

    def search(
        self, vector: np.ndarray, k: int, where: SearchFilter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See GalleryIndex; not exact where a shortlist is used."""
        vector = np.ascontiguousarray(vector, np.float32)
        generation = self.generation  # before the listing, which may know more but never less than it
        listing = self.listing
        found = None if listing is None else self._listed(generation, listing, vector, k, where)
        return self._search(generation.parts, vector, k, where) if found is None else found

    @property
    def facts(self) -> IndexFacts:
        """See GalleryIndex."""
        listing = self.listing
        if listing is not None:
            shortlist, _, _, recall, speed_up = listing
            return IndexFacts(self.factory, shortlist.count, round(recall, 4), round(speed_up, 2))
        if len(self) < self.least:
            return IndexFacts(waits=f"{self.factory} begins with {self.least:,} items")
        if self.refused is not None:
            return IndexFacts(waits=f"{self.factory} is not used: {self.refused[0]}")
        return IndexFacts(waits=f"{self.factory} is being built")

    def is_due(self) -> bool:
        """Whether a shortlist is missing, or knows too little of what is there."""
        count = len(self)
        if count < self.least:
            return False
        if self.refused is not None and count < 2 * self.refused[1]:
            return False
        if self.listing is None:
            return True
        shortlist, changed = self.listing.shortlist, self.listing.changed
        known = shortlist.count - shortlist.forgotten
        return max(count - known, 0) + len(changed) + shortlist.forgotten > STALE * shortlist.count

    def build(self, is_stopped: Callable[[], bool]) -> None:
        """Makes a shortlist and takes it where it finds enough of the best; call it in one thread."""
        fresh = Shortlist(self.dim, self.factory)
        try:
            fresh.train(self._sample(fresh.trained_by))
            with self.building:
                self.growing, self.changed_since = fresh, []
            while self._grown(fresh):
                if is_stopped():
                    return
            self._judge(fresh)
        except (ValueError, RuntimeError, MemoryError) as error:  # what FAISS raises
            self.refused = " ".join(str(error).split()), len(self)
        finally:
            with self.building:
                self.growing, self.changed_since = None, []

    def _grown(self, fresh: Shortlist) -> bool:
        """Adds the next rows that it lacks; False where there are none that are sealed."""
        with self.building:
            for segment in self.generation.segments:
                if segment.seqs[-1] > fresh.last:
                    rows = np.flatnonzero(segment.seqs > fresh.last)[:BLOCK]
                    fresh.add(segment.seqs[rows], segment.take(rows))
                    return True
        return False

    def _sample(self, count: int) -> np.ndarray:
        """float32 [n,D]: sealed rows, spread evenly."""
        segments = self.generation.segments
        step = max(1, sum(len(segment.seqs) for segment in segments) // count)
        rows = [segment.take(np.arange(0, len(segment.seqs), step)) for segment in segments]
        return np.concatenate([np.empty((0, self.dim), np.float32), *rows])

    def _judge(self, fresh: Shortlist) -> None:
        """Takes a shortlist by the narrowest searches that find `RECALL` of the best."""
        sample = self._sample(MEASURED)[:MEASURED]
        began = time.perf_counter()
        truth = [
            set(self._search(self.generation.parts, v, MEASURED_BEST + 1, None)[1][1:].tolist())
            for v in sample
        ]
        scan_s = time.perf_counter() - began
        recall = 0.0
        for width in fresh.widths:
            listing = _Listing(fresh, self._changed(), width, 1.0, 1.0)
            began, hits = time.perf_counter(), 0
            for vector, best in zip(sample, truth, strict=True):
                found = self._listed(self.generation, listing, vector, MEASURED_BEST + 1, None)
                hits += len(best) if found is None else len(best & set(found[1].tolist()))
            recall = hits / max(1, sum(len(best) for best in truth))
            if recall >= RECALL:
                with self.building:
                    speed_up = scan_s / (time.perf_counter() - began)
                    self.listing = _Listing(fresh, self._changed(), width, recall, speed_up)
                    self.refused = None
                return
        self.refused = f"it finds {recall:.3f} of the best and not {RECALL}", len(self)

    def _changed(self) -> np.ndarray:
        return np.unique(np.concatenate([np.empty(0, np.int64), *self.changed_since]))

    def _listed(
        self,
        generation: Generation,
        listing: _Listing,
        vector: np.ndarray,
        k: int,
        where: SearchFilter | None,
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """As `search`; None where a scan has to answer."""
        parts, shortlist = generation.parts, listing.shortlist
        total = sum(len(part.seqs) for part in parts)
        left = self._left(parts, total, where)
        if not total or left < FEWEST_LEFT * total:
            return None
        wider = -(-total // left)
        count = (TIMES * k + BESIDE) * wider
        if count > MOST:
            return None
        named = shortlist.candidates(vector, count, listing.width, wider)
        scores, seqs = self._scored(parts, np.union1d(named, listing.changed), vector, where)
        if len(seqs) < k and len(named) < shortlist.count:
            return None
        for part in parts:
            if part.seqs[-1] > shortlist.last:
                mask = self._mask(part, where)
                behind = part.seqs > shortlist.last
                more = part.search(vector, k, behind if mask is None else mask & behind)
                scores, seqs = np.concatenate([scores, more[0]]), np.concatenate([seqs, more[1]])
        seqs, first = np.unique(seqs, return_index=True)  # a changed row may stand behind as well
        return best_of(scores[first], seqs, k)

    def _scored(
        self, parts: Sequence[Part], seqs: np.ndarray, vector: np.ndarray, where: SearchFilter | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(scores float32 [n], seqs int64 [n]) of those that are held and pass; seqs int64 [m] ascend."""
        scores, found = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        numbers = np.searchsorted([part.seqs[-1] for part in parts], seqs)
        for number in np.unique(numbers[numbers < len(parts)]):
            part, here = parts[number], seqs[numbers == number]
            rows = np.searchsorted(part.seqs, here)
            rows = rows[part.seqs[rows] == here]
            mask = self._mask(Part(part.seqs[rows], part.cameras[rows]), where)
            rows = rows if mask is None else rows[mask]
            scores.append(part.take(rows) @ vector)
            found.append(part.seqs[rows])
        return np.concatenate(scores), np.concatenate(found)

    def _left(self, parts: Sequence[Part], total: int, where: SearchFilter | None) -> int:
        """About how many rows pass a filter: perhaps fewer, since conditions are counted one by one."""
        if where is None or where.is_open:
            return max(total, 1)
        left = total if where.allowed is None else len(where.allowed)
        left = min(left, total - (0 if where.left_out is None else len(where.left_out)))
        for camera, passes in ((where.camera, True), (where.exclude_camera, False)):
            if camera is not None:
                code = self.camera_codes.get(camera, -2)
                seen = sum(int(np.count_nonzero(part.cameras == code)) for part in parts)
                left = min(left, seen if passes else total - seen)
        return max(left, 1)
