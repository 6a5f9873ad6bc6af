"""Items with their images: what was enrolled, committed as a whole or not at all."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from server.gallery import audit, embeddings, jobs, journal, requests
from server.gallery import tables as t
from server.gallery.conditions import conditions
from server.gallery.database import Database, note_erased
from server.gallery.filters import ItemFilter
from server.gallery.records import EnrollRequest, Item, NewItem
from server.gallery.rows import COLUMNS, EARLIEST, LATEST, METADATA, read_item, read_metadata

_CHUNK = 500  # values in one IN list; SQLite takes 32,766, PostgreSQL is happier with fewer
_FETCHED = 1000  # rows that are read at once where Python decides about each


class ItemRows:
    """The items of every site."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def enroll(
        self,
        site: str,
        space_id: str,
        new: Sequence[NewItem],
        images: Sequence[bytes] | None,
        vectors: np.ndarray,
        request: EnrollRequest | None = None,
    ) -> list[Item]:
        """Commits items with their bytes and embeddings together, or nothing.

        Args:
            space_id: the raw space of the vectors.
            images: uploaded bytes, or None where they may not be kept.
            vectors: float [N,D], stored as float16.
            request: where the client sent an Idempotency-Key; its answer is kept in the same transaction.
        """
        now = round(time.time(), 6)  # in microseconds, as answers show it
        rows = [{"id": uuid.uuid4().hex, "site": site, "enrolled_at": now, **vars(item)} for item in new]
        with self.database.write() as db:
            self._insert(db, rows)
            seqs = [row["seq"] for row in rows]
            if images is not None:
                kept = [{"seq": seq, "data": data} for seq, data in zip(seqs, images, strict=True)]
                db.execute(t.images.insert(), kept)
            embeddings.insert(db, space_id, seqs, vectors)
            if request is not None:
                requests.remember(db, request, seqs)
        return [Item(**row) for row in rows]

    def _insert(self, db: sa.Connection, rows: list[dict[str, Any]]) -> None:
        """Inserts rows and fills in their `seq`, ascending in the order of the rows."""
        if self.database.is_sqlite:  # the next seq is known beforehand: one statement inserts them all
            last = db.scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name='items'")) or 0
            for offset, row in enumerate(rows, 1):
                row["seq"] = last + offset
            db.execute(t.items.insert(), rows)
            return
        inserted = db.execute(t.items.insert().returning(t.items.c.seq, sort_by_parameter_order=True), rows)
        for row, seq in zip(rows, inserted.scalars(), strict=True):
            row["seq"] = seq

    def get(self, item_id: str) -> Item | None:
        """One item."""
        items = self._by(t.items.c.id, [item_id])
        return items[0] if items else None

    def by_seq(self, seqs: Sequence[int]) -> dict[int, Item]:
        """Items by seq; those that are gone are left out."""
        return {item.seq: item for item in self._by(t.items.c.seq, seqs)}

    def identities(self, seqs: Sequence[int]) -> dict[int, str | None]:
        """The identities of items by seq; items that are gone are left out."""
        columns = sa.select(t.items.c.seq, t.items.c.identity)
        identities: dict[int, str | None] = {}
        with self.database.read() as db:
            for start in range(0, len(seqs), _CHUNK):
                rows = db.execute(columns.where(t.items.c.seq.in_(seqs[start : start + _CHUNK])))
                for seq, identity in rows:
                    # as `read_item` takes what another program put there
                    identities[seq] = identity if isinstance(identity, str) else None
        return identities

    def unnamed_ids(self, seqs: Sequence[int]) -> dict[int, str]:
        """The ids of those of some items that nobody has named, by seq."""
        query = sa.select(t.items.c.seq, t.items.c.id).where(t.items.c.identity.is_(None))
        ids: dict[int, str] = {}
        with self.database.read() as db:
            for start in range(0, len(seqs), _CHUNK):
                rows = db.execute(query.where(t.items.c.seq.in_(seqs[start : start + _CHUNK])))
                ids |= {row.seq: row.id for row in rows}
        return ids

    def _by(self, column: sa.Column[Any], values: Sequence[Any]) -> list[Item]:
        items: list[Item] = []
        with self.database.read() as db:
            for start in range(0, len(values), _CHUNK):
                chunk = values[start : start + _CHUNK]
                items += [read_item(row) for row in db.execute(sa.select(*COLUMNS).where(column.in_(chunk)))]
        return items

    def page(self, site: str, where: ItemFilter, after: int, limit: int) -> list[Item]:
        """Items of a site in order of enrolling, from behind seq `after`."""
        query = self._select(COLUMNS, site, where).where(t.items.c.seq > after)
        items: list[Item] = []
        with self.database.read() as db:
            if not where.metadata:
                return [read_item(row) for row in db.execute(query.limit(limit))]
            for row in db.execution_options(yield_per=_FETCHED).execute(query):
                item = read_item(row)
                if where.metadata_matches(item.metadata):
                    items.append(item)
                    if len(items) == limit:
                        break
        return items

    def seqs(self, site: str, where: ItemFilter | None = None) -> np.ndarray:
        """int64 seqs of a site's items, ascending."""
        where = where or ItemFilter()
        if not where.metadata:
            with self.database.read() as db:
                rows = db.execute(self._select([t.items.c.seq], site, where))
                return np.fromiter(rows.scalars(), np.int64)
        seqs: list[int] = []
        query = self._select([t.items.c.seq, METADATA], site, where)
        with self.database.read() as db:
            for seq, text in db.execution_options(yield_per=_FETCHED).execute(query):
                if where.metadata_matches(read_metadata(text)[0]):
                    seqs.append(seq)
        return np.array(seqs, np.int64)

    def _select(
        self, columns: Sequence[sa.ColumnElement[Any]], site: str, where: ItemFilter
    ) -> sa.Select[Any]:
        """Rows in order of enrolling, exact but for the filter's conditions on metadata."""
        collation = "BINARY" if self.database.is_sqlite else "C"
        return sa.select(*columns).where(*conditions(site, where, collation)).order_by(t.items.c.seq)

    def labels(self, site: str, with_image: bool) -> tuple[np.ndarray, list[str | None], list[str | None]]:
        """int64 seqs [N], cameras [N] and identities [N] of the items of a site, ascending by seq.

        Args:
            with_image: only of those whose images are kept.
        """
        query = sa.select(t.items.c.seq, t.items.c.camera, t.items.c.identity)
        if with_image:
            query = query.join(t.images, t.images.c.seq == t.items.c.seq)
        with self.database.read() as db:
            rows = db.execute(query.where(t.items.c.site == site).order_by(t.items.c.seq)).all()
        seqs = np.array([row.seq for row in rows], np.int64)
        return seqs, [row.camera for row in rows], [row.identity for row in rows]

    def tracks(self, site: str) -> list[tuple[int, float, str | float]]:
        """(seq, captured_at, metadata's `track`) of the items of a site that have all of these and a camera:
        a track is text or a number, but not empty and not -1."""
        columns = t.items.c
        query = sa.select(columns.seq, columns.captured_at, METADATA.label("text"))
        query = query.where(columns.site == site, columns.camera.is_not(None))
        query = query.where(columns.captured_at.between(EARLIEST, LATEST), METADATA.contains('"track"'))
        tracks: list[tuple[int, float, str | float]] = []
        with self.database.read() as db:
            rows = db.execution_options(yield_per=_FETCHED).execute(query.order_by(columns.seq))
            for seq, captured_at, text in rows:
                track = read_metadata(text)[0].get("track")
                if track in ("", -1):  # as trackers say that they follow nobody
                    continue
                if isinstance(track, str | int | float) and not isinstance(track, bool):
                    tracks.append((seq, captured_at, track))
        return tracks

    def unnamed(self, site: str) -> tuple[np.ndarray, list[str | None]]:
        """int64 seqs [N], ascending, and cameras [N] of a site's items that nobody has named."""
        query = sa.select(t.items.c.seq, t.items.c.camera)
        query = query.where(t.items.c.site == site, t.items.c.identity.is_(None))
        with self.database.read() as db:
            rows = db.execute(query.order_by(t.items.c.seq)).all()
        return np.array([row.seq for row in rows], np.int64), [row.camera for row in rows]

    def named(self, site: str) -> np.ndarray:
        """int64 seqs [N], ascending, of a site's items that have a name."""
        query = sa.select(t.items.c.seq).where(t.items.c.site == site, t.items.c.identity.is_not(None))
        with self.database.read() as db:
            return np.fromiter(db.execute(query.order_by(t.items.c.seq)).scalars(), np.int64)

    def any_identity(self, site: str) -> bool:
        """Whether an item of a site says whom it shows."""
        query = sa.select(t.items.c.seq).where(t.items.c.site == site, t.items.c.identity.is_not(None))
        with self.database.read() as db:
            return db.execute(query.limit(1)).first() is not None

    def count_identities(self, site: str) -> int:
        """Different identities of a site."""
        named = sa.select(sa.func.count(sa.distinct(t.items.c.identity))).where(t.items.c.site == site)
        with self.database.read() as db:
            return db.scalar(named) or 0

    def by_camera(self, site: str) -> list[tuple[str | None, int, int]]:
        """Each camera of a site with how many items it has and how many identities they name; cameras in
        order, items without one last."""
        query = sa.select(
            t.items.c.camera, sa.func.count(), sa.func.count(sa.distinct(t.items.c.identity))
        ).where(t.items.c.site == site)
        with self.database.read() as db:
            rows = db.execute(query.group_by(t.items.c.camera)).all()
        counted = [(row[0], row[1], row[2]) for row in rows]
        return sorted(counted, key=lambda row: (row[0] is None, row[0] or ""))

    def present(self, ids: Sequence[str]) -> set[str]:
        """Those of these ids that are items."""
        known: set[str] = set()
        with self.database.read() as db:
            for start in range(0, len(ids), _CHUNK):
                chunk = ids[start : start + _CHUNK]
                known.update(db.execute(sa.select(t.items.c.id).where(t.items.c.id.in_(chunk))).scalars())
        return known

    def count_without_image(self, site: str) -> int:
        """Items of a site whose images are not kept."""
        kept = sa.exists().where(t.images.c.seq == t.items.c.seq)
        query = sa.select(sa.func.count()).select_from(t.items).where(t.items.c.site == site, ~kept)
        with self.database.read() as db:
            return db.scalar(query) or 0

    def count(self, site: str) -> int:
        """Items of a site."""
        query = sa.select(sa.func.count()).select_from(t.items).where(t.items.c.site == site)
        with self.database.read() as db:
            return db.scalar(query) or 0

    def image(self, seq: int) -> bytes | None:
        """The uploaded bytes of an item, where they are kept."""
        with self.database.read() as db:
            return db.scalar(sa.select(t.images.c.data).where(t.images.c.seq == seq))

    def images(self, seqs: Sequence[int]) -> dict[int, bytes]:
        """Uploaded bytes by seq; those that are gone are left out."""
        query = sa.select(t.images).where(t.images.c.seq.in_([int(s) for s in seqs]))
        with self.database.read() as db:
            return {row.seq: row.data for row in db.execute(query)}

    def erase(self, seqs: Sequence[int], actor: str, site: str, by: str) -> int:
        """Deletes items with image and embeddings in every space, and what requests, jobs and the audit log
        say of them. Notes in the audit log who erased how many.

        Their bytes may stay in the database's files until `Store.purge` has succeeded.

        Args:
            by: what they were chosen by, for the audit log: item, all, or names of a filter's keys.
        """
        with self.database.write() as db:
            count = erase_items(db, seqs, site)
            audit.note(db, actor, "erase", site, {"by": by, "items": count})
        return count


def erase_items(db: sa.Connection, seqs: Sequence[int], site: str) -> int:
    """Deletes items of a site and what is said of them elsewhere, inside a transaction; returns how many."""
    count = 0
    borne: set[str] = set()
    others: set[str] = set()
    for start in range(0, len(seqs), _CHUNK):
        chunk = [int(s) for s in seqs[start : start + _CHUNK]]
        names = journal.names_of(db, chunk)
        borne, others = borne | names[0], others | names[1]
        journal.forget(db, chunk)
        ids = list(db.execute(sa.select(t.items.c.id).where(t.items.c.seq.in_(chunk))).scalars())
        requests.forget(db, chunk)
        jobs.forget(db, site, ids)
        audit.forget(db, ids)
        note_erased(db, ids)
        # the items last: the others refer to them
        for table in (t.fitted_items, t.embeddings, t.images, t.items):
            db.execute(table.delete().where(table.c.seq.in_(chunk)))
        count += len(ids)
    journal.forget_names(db, site, borne, others - borne)
    return count
