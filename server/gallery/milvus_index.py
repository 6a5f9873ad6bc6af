"""The index whose vectors are in Milvus. This process keeps twenty bytes an item, and whole rows only while
they are on their way there.

Milvus names candidates and is not trusted: what it names must be an item of the index, every score is
computed again from the store's halves, and the candidates count only if no other row can belong to the k
best. So an item that was enrolled a moment ago is found (its row is in memory until Milvus has shown it), and
one that was erased is in no answer, whatever Milvus still has.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from reid.profile import Centres
from server.errors import IndexUnavailable
from server.gallery.faiss_index import DELTA, SEGMENT, FaissIndex, Part, best_of, vectors_of
from server.gallery.index import SCORE_DIGITS, IndexFacts, SearchFilter
from server.gallery.milvus import MOST, MilvusAway, MilvusRows, camera_number, digest_of
from server.gallery.milvus_writer import MilvusWriter
from server.gallery.records import Version
from server.gallery.store import Store

# age of a row that is settled: beyond what a bounded read of Milvus may lag (`common.gracefulTime`, 5 s)
SETTLE_S = 10.0
BATCH = 500  # rows of one write
_MARGINS = (64, 1024, MOST)  # rows asked for beside the k that are wanted
_IDS = 10_000  # in one condition
_READ = 8_192  # rows that are read from the store at once


@dataclasses.dataclass(frozen=True)
class Settled(Part):
    """Rows that every search of Milvus finds.

    Args:
        digests: int64 [N], as they are there.
    """

    digests: np.ndarray

    def keep(self, rows: np.ndarray) -> Settled:
        """Some of them, by a bool [N]."""
        return Settled(self.seqs[rows], self.cameras[rows], self.digests[rows])

    def joined(self, seqs: np.ndarray, cameras: np.ndarray, digests: np.ndarray) -> Settled:
        """These and others, ascending."""
        pairs = ((self.seqs, seqs), (self.cameras, cameras), (self.digests, digests))
        columns = [np.concatenate(pair) for pair in pairs]
        order = np.argsort(columns[0], kind="stable")
        return Settled(*(column[order] for column in columns))


def _nothing() -> Settled:
    return Settled(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64))


@dataclasses.dataclass(frozen=True)
class _View:
    """What a search sees: rows in Milvus, rows in memory, how many rows Milvus may have beside these."""

    settled: Settled
    fresh: tuple[Part, ...]
    stale: int


@dataclasses.dataclass(frozen=True)
class StoredVectors:
    """Vectors of items out of the store, as they are compared."""

    store: Store
    version: Version
    centres: Centres | None

    def read(self, seqs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 [n], ascending -> (which of them the store has, bool [n]; float32 [m,D] of these).

        Raises IndexUnavailable where items are there and their vectors are not: nobody needs the space of an
        earlier version any more.
        """
        found = self.store.embeddings.chosen(seqs.tolist(), self.version.raw_space_id)
        held = np.isin(seqs, found.seqs)
        if not held.all() and self.store.items.by_seq(seqs[~held].tolist()):
            raise IndexUnavailable("the site got another version while this query ran; ask again", 1)
        if not len(found.seqs):
            return held, np.empty((0, self.version.dim), np.float32)
        vectors = found.vectors
        if self.centres is not None:
            vectors = self.centres.compare(vectors, found.cameras, np.float16)
        return held, vectors.astype(np.float32)


class MilvusIndex(FaissIndex):
    """A `GalleryIndex` in Milvus; what FaissIndex holds are the rows that are not settled there.

    Args:
        stored: where vectors are read again. space: the number of its rows in Milvus; default: a new one.
        segment, delta: sizes, smaller in tests.
    """

    def __init__(
        self,
        rows: MilvusRows,
        writer: MilvusWriter,
        stored: StoredVectors,
        space: int | None = None,
        segment: int = SEGMENT,
        delta: int = DELTA,
    ) -> None:
        super().__init__(stored.version.dim, segment, delta)
        self.rows, self.writer, self.stored = rows, writer, stored
        self.site = stored.version.site
        self.space = secrets.randbits(62) if space is None else space
        self.changing = threading.RLock()  # of writers, around the lock of the rows in memory
        self.settled = _nothing()
        self.fresh: dict[int, tuple[str | None, int]] = {}  # camera and digest of each row in memory
        self.sent: dict[int, tuple[int, float]] = {}  # digest and time of those that were written
        self.stale: set[int] = set()  # seqs of which Milvus may have a row that is not settled
        self.view = _View(self.settled, (), 0)

    def __len__(self) -> int:
        """Items it holds."""
        view = self.view
        return len(view.settled.seqs) + sum(len(part.seqs) for part in view.fresh)

    @property
    def facts(self) -> IndexFacts:
        """See GalleryIndex."""
        return IndexFacts("milvus", items=len(self.view.settled.seqs), waits=self.writer.away)

    def seqs(self) -> np.ndarray:
        """int64 [N]: what it holds, ascending."""
        view = self.view
        return np.sort(np.concatenate([view.settled.seqs, *(part.seqs for part in view.fresh)]))

    def add(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """See GalleryIndex. Does not wait for Milvus. Raises ValueError for vectors of another length."""
        with self.changing:
            super().add(seqs, cameras, vectors)
            self._note(seqs, cameras, vectors)
        self.writer.wake.set()

    def put(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """See GalleryIndex. Does not wait for Milvus."""
        with self.changing:
            super().put(seqs, cameras, vectors)
            self._unsettle(np.asarray(seqs, np.int64))
            self._note(seqs, cameras, vectors)
        self.writer.wake.set()

    def remove(self, seqs: Sequence[int] | np.ndarray) -> None:
        """See GalleryIndex. Milvus is told in the background; until then its rows are ignored."""
        gone = np.asarray(seqs, np.int64)
        with self.changing:
            super().remove(gone)
            self._unsettle(gone)
            for seq in gone.tolist():
                self.fresh.pop(seq, None)
            self._show()
        self.writer.wake.set()

    def search(
        self, vector: np.ndarray, k: int, where: SearchFilter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See GalleryIndex. Raises IndexUnavailable while Milvus is away."""
        self.writer.require()
        view, vector = self.view, np.ascontiguousarray(vector, np.float32)
        scores, seqs = self._search(view.fresh, vector, k, where)
        mask = self._mask(view.settled, where)
        for condition, expected in self._conditions(view.settled, mask, where):
            more = self._of_milvus(expected, vector, min(k, len(expected)), view.stale, condition)
            scores, seqs = np.concatenate([scores, more[0]]), np.concatenate([seqs, more[1]])
        return best_of(scores, seqs, k)

    def vectors(self, seqs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See GalleryIndex; those of settled rows are read from the store."""
        view = self.view
        held, fresh = vectors_of(view.fresh, seqs, self.dim)
        vectors = np.empty((len(seqs), self.dim), np.float32)
        vectors[held] = fresh
        places = np.flatnonzero(~held & np.isin(seqs, view.settled.seqs))
        for start in range(0, len(places), _READ):
            chunk = places[start : start + _READ]
            order = np.argsort(seqs[chunk], kind="stable")
            found, read = self.stored.read(seqs[chunk][order])
            vectors[chunk[order[found]]] = read
            held[chunk[order[found]]] = True
        return held, vectors[held]

    def write(self, at_once: bool = False) -> bool:
        """One step of what has to be done in Milvus: rows deleted, written, settled. Returns whether more can
        be done now.

        Args:
            at_once: settles rows however young they are.

        Raises MilvusAway.
        """
        more = self._delete_stale()
        more |= self._send()
        self._settle_sent(at_once)
        return more

    def compare(self) -> None:
        """Finds what Milvus lacks of the settled rows, which are read from the store and written again, and
        what it has too much. Raises MilvusAway."""
        digests = self.rows.of_space(self.site, self.space)
        with self.changing:
            self.sent.clear()
            there = self._as_they_are(self.settled, digests)
            lost = self.settled.keep(~there)
            self.settled = self.settled.keep(there)
            self.stale |= digests.keys() - set(self.settled.seqs.tolist())
            names = {code: camera for camera, code in self.camera_codes.items()}
            for start in range(0, len(lost.seqs), _READ):
                rows = slice(start, start + _READ)
                found, vectors = self.stored.read(lost.seqs[rows])
                cameras = [names.get(code) for code in lost.cameras[rows][found].tolist()]
                super().put(lost.seqs[rows][found], cameras, vectors)
                self._note(lost.seqs[rows][found], cameras, vectors)
            self._show()

    def add_stored(
        self, seqs: np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray, digests: dict[int, int]
    ) -> int:
        """Adds items while the index is opened, as `add` does; those that Milvus has as they are stay there.
        Returns how many it has not.

        Args:
            digests: of what Milvus has of the index, by seq.
        """
        halves = np.ascontiguousarray(vectors, "<f2")
        made = [digest_of(c, v.tobytes()) for c, v in zip(cameras, halves, strict=True)]
        same = np.array([digests.get(s) == d for s, d in zip(seqs.tolist(), made, strict=True)], bool)
        with self.changing:
            codes = np.array([self._code(camera) for camera in cameras], np.int32)
            self.settled = self.settled.joined(seqs[same], codes[same], np.array(made, np.int64)[same])
            self._show()
            self.stale |= digests.keys() & set(seqs[~same].tolist())
        new = np.flatnonzero(~same)
        if len(new):
            self.add(seqs[new], [cameras[row] for row in new.tolist()], halves[new])
        return len(new)

    def forget_others(self, digests: dict[int, int]) -> int:
        """Has deleted what Milvus has of the index and the store has not, and returns how many these are."""
        with self.changing:
            others = digests.keys() - set(self.settled.seqs.tolist()) - self.fresh.keys()
            self.stale |= others
            self._show()
        return len(others)

    def _note(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        halves = np.ascontiguousarray(vectors, "<f2")
        for seq, camera, half in zip(seqs, cameras, halves, strict=True):
            self.fresh[int(seq)] = (camera, digest_of(camera, half.tobytes()))
            self.sent.pop(int(seq), None)
        self._show()

    def _unsettle(self, seqs: np.ndarray) -> None:
        """These are no longer as Milvus has them."""
        among = np.isin(self.settled.seqs, seqs)
        if among.any():
            self.stale |= set(self.settled.seqs[among].tolist())
            self.settled = self.settled.keep(~among)
        for seq in seqs.tolist():
            self.sent.pop(seq, None)

    def _show(self) -> None:
        self.view = _View(self.settled, self.generation.parts, len(self.stale))

    def _as_they_are(self, settled: Settled, digests: dict[int, int]) -> np.ndarray:
        """bool [N]: which rows Milvus has with their digests."""
        pairs = zip(settled.seqs.tolist(), settled.digests.tolist(), strict=True)
        return np.fromiter((digests.get(seq) == digest for seq, digest in pairs), bool, len(settled.seqs))

    def _delete_stale(self) -> bool:
        """Deletes rows of items that are gone, and looks whether they are."""
        with self.changing:
            gone = [seq for seq in self.stale if seq not in self.fresh][:BATCH]
        if not gone:
            return False
        self.rows.delete(self.space, gone)
        left = self.rows.digests(self.space, gone)
        with self.changing:
            self.stale -= set(gone) - left.keys()
            self._show()
            return any(seq not in self.fresh for seq in self.stale)

    def _send(self) -> bool:
        """Writes rows that were not written yet."""
        with self.changing:
            seqs = np.array(sorted(self.fresh.keys() - self.sent.keys())[:BATCH], np.int64)
            if not len(seqs):
                return False
            cameras, digests = zip(*(self.fresh[seq] for seq in seqs.tolist()), strict=True)
            _, vectors = vectors_of(self.generation.parts, seqs, self.dim)
            again = [seq for seq in seqs.tolist() if seq in self.stale]
            self.stale |= set(seqs.tolist())
            self._show()
        self.rows.delete(self.space, again)
        self.rows.insert(self.site, self.space, seqs.tolist(), cameras, digests, vectors)
        now = time.monotonic()
        with self.changing:
            for seq, digest in zip(seqs.tolist(), digests, strict=True):
                if self.fresh.get(seq, (None, None))[1] == digest:
                    self.sent[seq] = (digest, now)
            return len(self.fresh) > len(self.sent)

    def _settle_sent(self, at_once: bool) -> None:
        """Rows that Milvus shows leave the memory; those that it does not show are written again."""
        latest = time.monotonic() - (0.0 if at_once else SETTLE_S)
        with self.changing:
            due = [seq for seq, (_, sent_at) in self.sent.items() if sent_at <= latest]
        for start in range(0, len(due), BATCH):
            chunk = due[start : start + BATCH]
            shown = self.rows.digests(self.space, chunk)
            with self.changing:
                there = []
                for seq in chunk:
                    sent = self.sent.pop(seq, None)
                    if sent is not None and shown.get(seq) == sent[0] == self.fresh[seq][1]:
                        there.append(seq)
                self._move(np.array(sorted(there), np.int64))

    def _move(self, seqs: np.ndarray) -> None:
        """From memory to the settled rows."""
        if not len(seqs):
            return
        rows = [self.fresh.pop(seq) for seq in seqs.tolist()]
        codes = np.array([self._code(camera) for camera, _ in rows], np.int32)
        self.settled = self.settled.joined(seqs, codes, np.array([digest for _, digest in rows], np.int64))
        self.stale -= set(seqs.tolist())
        super().remove(seqs)
        self._show()

    def _conditions(
        self, settled: Settled, mask: np.ndarray | None, where: SearchFilter | None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Conditions in Milvus's words, and the rows int64 [n] that meet each: together those of the mask."""
        wanted = settled.seqs if mask is None else settled.seqs[mask]
        if not len(wanted):
            return
        if where is None or mask is None:
            yield "", wanted
            return
        cameras = ""
        if where.camera is not None:
            cameras = f"camera == {camera_number(where.camera)}"
        if where.exclude_camera is not None:
            cameras += f"{' and ' if cameras else ''}camera != {camera_number(where.exclude_camera)}"
        if where.allowed is None and where.left_out is None:
            yield cameras, wanted
            return
        others_mask = self._mask(settled, dataclasses.replace(where, allowed=None, left_out=None))
        others = settled.seqs[~mask if others_mask is None else others_mask & ~mask]
        if len(others) <= min(_IDS, len(wanted)):
            ids = f"seq not in {others.tolist()}" if len(others) else ""
            yield " and ".join(each for each in (cameras, ids) if each), wanted
            return
        for start in range(0, len(wanted), _IDS):
            chunk = wanted[start : start + _IDS]
            yield f"seq in {chunk.tolist()}", chunk

    def _of_milvus(
        self, expected: np.ndarray, vector: np.ndarray, k: int, stale: int, condition: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """(scores float32 [n], seqs int64 [n]): the k best of the expected rows, and perhaps others."""
        for limit in sorted({min(k + margin + stale, MOST) for margin in _MARGINS}):
            try:
                near, found = self.rows.search(self.site, self.space, vector, limit, condition)
            except MilvusAway as error:
                raise self.writer.lost(str(error)) from error
            known = np.unique(found[among(found, expected)])
            held, vectors = self.stored.read(known)
            exact = vectors @ vector
            if len(near) < limit:  # it has no others
                # without those that were erased or corrected while this search ran
                if len(known) < len(expected) and among(expected, self.view.settled.seqs).sum() > len(known):
                    raise self.writer.lost(
                        f"Milvus at {self.rows.uri} showed {len(known)} of {len(expected)} rows of site "
                        f"{self.site!r}, so it is compared with the store"
                    )
                return exact, known[held]
            if len(exact) >= k and _are_the_best(near, found, exact, known[held], k):
                return exact, known[held]
        return self._scan(expected, vector, k)

    def _scan(self, seqs: np.ndarray, vector: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The same from the store alone: where more rows are wanted, or equally good, than Milvus returns."""
        best, best_seqs = np.empty(0, np.float64), np.empty(0, np.int64)
        for start in range(0, len(seqs), _READ):
            chunk = seqs[start : start + _READ]
            held, vectors = self.stored.read(chunk)
            scores = np.concatenate([best, vectors @ vector])
            best, best_seqs = best_of(scores, np.concatenate([best_seqs, chunk[held]]), k)
        return best, best_seqs


def among(seqs: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool [n]: which of int64 [n] are among the others, ascending."""
    if not len(others):
        return np.zeros(len(seqs), bool)
    places = np.minimum(np.searchsorted(others, seqs), len(others) - 1)
    return others[places] == seqs


def _are_the_best(near: np.ndarray, found: np.ndarray, exact: np.ndarray, known: np.ndarray, k: int) -> bool:
    """Whether no row that was not found can belong to the k best.

    Args:
        near, found: float32 [n] scores of Milvus, int64 [n] seqs. exact, known: float32 [m], int64 [m]:
            those of them that are the index's, as they are.
    """
    order = np.argsort(found, kind="stable")
    of_milvus = near[order][np.searchsorted(found[order], known)]
    off = max(1e-5, 2 * float(np.abs(of_milvus - exact).max()))
    last = min(np.partition(exact, len(exact) - k)[len(exact) - k], 1.0)  # scores beyond 1 become equal
    return bool(last - 10.0**-SCORE_DIGITS > near.min() + off)
