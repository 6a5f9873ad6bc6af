"""Embeddings of items as the engine made them: float16 vectors, one for each raw space that a site's live
version or its parent uses. Centres are applied where they are compared."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from server.errors import StoreUnavailable
from server.gallery import tables as t
from server.gallery.database import Database
from server.gallery.records import Embedded
from server.gallery.versions import VersionRows

_READ_AT_ONCE = 500  # values in one IN list
_DROPPED_AT_ONCE = 2000  # rows of one transaction, so that enrolls get their turn between them


class EmbeddingRows:
    """The vectors that indexes are built from."""

    def __init__(self, database: Database, versions: VersionRows) -> None:
        self.database, self.versions = database, versions

    def get(self, seq: int, space_id: str) -> np.ndarray | None:
        """float32 [D] of an item in a raw space."""
        query = sa.select(t.embeddings.c.vector)
        query = query.where(t.embeddings.c.seq == seq, t.embeddings.c.space_id == space_id)
        with self.database.read() as db:
            data = db.scalar(query)
        return np.frombuffer(data, "<f2").astype(np.float32) if data is not None else None

    def some(self, seqs: Sequence[int], space_id: str) -> dict[int, bytes]:
        """float16 [D] of items in a raw space, as bytes, by seq; those that have none are left out."""
        columns = sa.select(t.embeddings.c.seq, t.embeddings.c.vector)
        found: dict[int, bytes] = {}
        with self.database.read() as db:
            for start in range(0, len(seqs), _READ_AT_ONCE):
                chunk = t.embeddings.c.seq.in_(seqs[start : start + _READ_AT_ONCE])
                rows = db.execute(columns.where(t.embeddings.c.space_id == space_id, chunk))
                found |= {row.seq: row.vector for row in rows}
        return found

    def vectors(self, seqs: Sequence[int], space_id: str) -> tuple[list[int], np.ndarray]:
        """Rows of the items that have an embedding in a raw space, and float32 [M,D] of these."""
        stored = self.some(seqs, space_id)
        rows = [row for row, seq in enumerate(seqs) if seq in stored]
        if not rows:
            return [], np.empty((0, 0), np.float32)
        halves = np.frombuffer(b"".join(stored[seqs[row]] for row in rows), "<f2")
        return rows, halves.astype(np.float32).reshape(len(rows), -1)

    def chosen(self, seqs: Sequence[int], space_id: str) -> Embedded:
        """Embeddings of items in a raw space, ascending by seq, without those that have none."""
        columns = sa.select(t.items.c.seq, t.items.c.camera, t.embeddings.c.vector)
        query = columns.join(t.embeddings, t.embeddings.c.seq == t.items.c.seq)
        found: list[Any] = []
        with self.database.read() as db:
            for start in range(0, len(seqs), _READ_AT_ONCE):
                chunk = t.items.c.seq.in_(seqs[start : start + _READ_AT_ONCE])
                found += db.execute(query.where(t.embeddings.c.space_id == space_id, chunk))
        found.sort(key=lambda row: row.seq)
        vectors = np.frombuffer(b"".join(row.vector for row in found), "<f2")
        shaped = vectors.reshape(len(found), -1) if found else vectors.reshape(0, 0)
        return Embedded(np.array([row.seq for row in found], np.int64), [row.camera for row in found], shaped)

    def of_site(self, site: str, space_id: str, chunk: int = 16_384, after: int = 0) -> Iterator[Embedded]:
        """Every embedding of a site in a raw space from behind seq `after`, ascending by seq, in chunks.

        Raises StoreUnavailable for one that is damaged.
        """
        query = (
            sa.select(t.items.c.seq, t.items.c.camera, t.embeddings.c.vector)
            .join(t.embeddings, t.embeddings.c.seq == t.items.c.seq)
            .where(t.items.c.site == site, t.embeddings.c.space_id == space_id, t.items.c.seq > after)
            .order_by(t.items.c.seq)
        )
        with self.database.read() as db:
            for rows in db.execution_options(yield_per=chunk).execute(query).partitions():
                self._require_whole(site, rows)
                vectors = np.frombuffer(b"".join(r.vector for r in rows), "<f2").reshape(len(rows), -1)
                yield Embedded(np.array([r.seq for r in rows], np.int64), [r.camera for r in rows], vectors)

    def _require_whole(self, site: str, rows: Sequence[Any]) -> None:
        """Raises StoreUnavailable where a vector was cut off, or something else stands in its place."""
        size = max(len(row.vector) for row in rows)
        for row in rows:
            if not isinstance(row.vector, bytes) or len(row.vector) != size or size % 2 or not size:
                raise StoreUnavailable(
                    f"{self.database.title} is damaged: the embedding of item number {row.seq} at site "
                    f"{site!r} is not whole; restore it from a backup"
                )

    def missing(self, site: str, space_id: str) -> np.ndarray:
        """int64 seqs of the items of a site that have no embedding in a raw space, ascending."""
        present = sa.exists().where(t.embeddings.c.seq == t.items.c.seq, t.embeddings.c.space_id == space_id)
        query = sa.select(t.items.c.seq).where(t.items.c.site == site, ~present).order_by(t.items.c.seq)
        with self.database.read() as db:
            return np.fromiter(db.execute(query).scalars(), np.int64)

    def add(
        self, space_id: str, seqs: Sequence[int], vectors: np.ndarray, cameras: Sequence[str | None]
    ) -> None:
        """Adds embeddings (float [N,D], stored as float16) in a raw space, without those of items that were
        erased, or whose camera is no longer the one that they were embedded with."""
        with self.database.write() as db:
            columns = sa.select(t.items.c.seq, t.items.c.camera)
            present = {(seq, camera) for seq, camera in db.execute(columns.where(t.items.c.seq.in_(seqs)))}
            rows = [row for row, key in enumerate(zip(seqs, cameras, strict=True)) if key in present]
            insert(db, space_id, [seqs[row] for row in rows], vectors[rows])

    def drop_unused(self, keep: Collection[str] = ()) -> int:
        """Deletes embeddings of raw spaces that no site's live version or its parent uses, but for the raw
        spaces in `keep`. Returns how many."""
        used = set(keep)
        for live in self.versions.live():
            used.add(live.raw_space_id)
            parent = self.versions.get(live.site, live.parent) if live.parent is not None else None
            if parent is not None:
                used.add(parent.raw_space_id)
        with self.database.read() as db:
            spaces = list(db.execute(sa.select(t.embeddings.c.space_id).distinct()).scalars())
        return sum(self._drop(space) for space in spaces if space not in used)

    def _drop(self, space: str) -> int:
        in_space = t.embeddings.c.space_id == space
        seqs = sa.select(t.embeddings.c.seq).where(in_space).limit(_DROPPED_AT_ONCE)
        count = 0
        while True:
            with self.database.write() as db:
                deleted = db.execute(
                    t.embeddings.delete().where(in_space, t.embeddings.c.seq.in_(seqs))
                ).rowcount
            if not deleted:
                return count
            count += deleted


def insert(db: sa.Connection, space_id: str, seqs: Sequence[int], vectors: np.ndarray) -> None:
    """Adds embeddings (float [N,D]) inside an open transaction."""
    rows = []
    for seq, vector in zip(seqs, vectors.astype("<f2"), strict=True):
        rows.append({"space_id": space_id, "seq": int(seq), "vector": vector.tobytes()})
    if rows:
        db.execute(t.embeddings.insert(), rows)


def drop(db: sa.Connection, seqs: Sequence[int], but: Collection[str]) -> None:
    """Deletes embeddings of items inside an open transaction, but for those in the raw spaces `but`.

    Args:
        seqs: 500 at most.
    """
    columns = t.embeddings.c
    db.execute(t.embeddings.delete().where(columns.seq.in_(seqs), columns.space_id.not_in(but)))
