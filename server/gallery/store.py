"""The truth: items, images, embeddings, versions, in SQL. What a method has returned from is on disk.

SQLite runs in WAL mode with synchronous=FULL: a commit survives a killed process and a lost power supply.
Deleted rows are overwritten (secure_delete) and the log is truncated after an erasure.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, Row

from reid.batchnorm import BatchNormProfile
from server.errors import StartError
from server.gallery import tables as t
from server.gallery.records import Embedded, Item, ItemFilter, NewItem, Version

_CHUNK = 500  # values in one IN list; SQLite takes 32,766, PostgreSQL is happier with fewer


class Store:
    """One database. Safe to use from any thread; writes take turns.

    Args:
        url: an SQLAlchemy URL, or a folder, which gets an SQLite file `gallery.db`.

    Raises StartError when the database is of another schema.
    """

    def __init__(self, url: str | Path) -> None:
        if isinstance(url, Path):
            url.mkdir(parents=True, exist_ok=True)
            url = f"sqlite:///{url / 'gallery.db'}"
        self.engine = _open(url)
        self.write_lock = threading.RLock()
        with self._write() as db:
            t.metadata.create_all(db)
            found = db.scalar(sa.select(t.meta.c.value).where(t.meta.c.key == "schema"))
            if found is None:
                db.execute(t.meta.insert().values(key="schema", value=str(t.SCHEMA)))
            elif found != str(t.SCHEMA):
                raise StartError(
                    f"the gallery at {url} has schema {found}, this Resight reads {t.SCHEMA}; update Resight"
                )

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()

    def writable(self) -> bool:
        """True when a write transaction can be begun and ended."""
        try:
            with self._write() as db:
                db.execute(sa.text("SELECT 1"))
            return True
        except sa.exc.SQLAlchemyError:
            return False

    # Sites and versions

    def add_site(self, first: Version) -> None:
        """A new site with its first version; does nothing where the site exists."""
        with self._write() as db:
            if db.scalar(sa.select(t.sites.c.name).where(t.sites.c.name == first.site)) is None:
                db.execute(
                    t.sites.insert().values(
                        name=first.site, version=first.version, created_at=first.created_at
                    )
                )
                db.execute(t.versions.insert().values(**vars(first)))

    def live_versions(self) -> list[Version]:
        """The live version of every site, by name."""
        join = sa.and_(t.versions.c.site == t.sites.c.name, t.versions.c.version == t.sites.c.version)
        with self.engine.connect() as db:
            return [
                Version(**row._mapping)
                for row in db.execute(sa.select(t.versions).join(t.sites, join).order_by(t.sites.c.name))
            ]

    def version(self, site: str, version: int) -> Version | None:
        """One version of a site."""
        wanted = sa.select(t.versions).where(t.versions.c.site == site, t.versions.c.version == version)
        with self.engine.connect() as db:
            row = db.execute(wanted).first()
        return Version(**row._mapping) if row is not None else None

    def make_live(self, version: Version, job: str | None = None) -> None:
        """Writes a version, makes it the live one and marks its job succeeded, in one transaction."""
        with self._write() as db:
            db.execute(t.versions.insert().values(**vars(version)))
            db.execute(t.sites.update().where(t.sites.c.name == version.site).values(version=version.version))
            if job is not None:
                done = {"state": "succeeded", "progress": 1.0, "stage": "done", "version": version.version}
                db.execute(t.jobs.update().where(t.jobs.c.id == job).values(**done))

    def save_profile(self, profile: BatchNormProfile) -> str:
        """Keeps a profile under its content address and returns that."""
        with self._write() as db:
            if db.scalar(sa.select(t.profiles.c.id).where(t.profiles.c.id == profile.id)) is None:
                db.execute(t.profiles.insert().values(id=profile.id, data=profile.to_bytes()))
        return profile.id

    def profile(self, profile_id: str) -> BatchNormProfile | None:
        """A kept profile."""
        with self.engine.connect() as db:
            data = db.scalar(sa.select(t.profiles.c.data).where(t.profiles.c.id == profile_id))
        return BatchNormProfile.from_bytes(data) if data is not None else None

    # Items

    def enroll(
        self,
        site: str,
        space_id: str,
        new: Sequence[NewItem],
        images: Sequence[bytes] | None,
        vectors: np.ndarray,
        request: tuple[str, str, dict[str, Any]] | None = None,
    ) -> list[Item]:
        """Commits items with their bytes and embeddings together, or nothing.

        Args:
            images: uploaded bytes, or None where they may not be kept. vectors: float [N,D], stored as
            float16.
            request: (Idempotency-Key, fingerprint, facts): the answer is kept with the items, in the same
            transaction.
        """
        now = time.time()
        rows = [{"id": uuid.uuid4().hex, "site": site, "enrolled_at": now, **vars(item)} for item in new]
        halves = vectors.astype("<f2")
        with self._write() as db:
            first = (
                (db.scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name='items'")) or 0) + 1
                if self._is_sqlite
                else None
            )
            if first is not None:  # known beforehand, so that one statement inserts them all
                for offset, row in enumerate(rows):
                    row["seq"] = first + offset
                db.execute(t.items.insert(), rows)
            else:
                found = db.execute(
                    t.items.insert().returning(t.items.c.seq, sort_by_parameter_order=True), rows
                )
                for row, seq in zip(rows, found.scalars(), strict=True):
                    row["seq"] = seq
            if images is not None:
                db.execute(
                    t.images.insert(),
                    [{"seq": r["seq"], "data": d} for r, d in zip(rows, images, strict=True)],
                )
            kept = [
                {"space_id": space_id, "seq": r["seq"], "vector": v.tobytes()}
                for r, v in zip(rows, halves, strict=True)
            ]
            db.execute(t.embeddings.insert(), kept)
            if request is not None:
                key, fingerprint, facts = request
                answer = facts | {"ids": [row["id"] for row in rows]}
                db.execute(
                    t.requests.insert().values(
                        key=key, fingerprint=fingerprint, answer=answer, created_at=now
                    )
                )
        return [Item(**row) for row in rows]

    def answered(self, key: str) -> tuple[str, dict[str, Any]] | None:
        """(fingerprint, facts) of the request that was committed under this Idempotency-Key."""
        with self.engine.connect() as db:
            row = db.execute(
                sa.select(t.requests.c.fingerprint, t.requests.c.answer).where(t.requests.c.key == key)
            ).first()
        return (row.fingerprint, row.answer) if row is not None else None

    def item(self, item_id: str) -> Item | None:
        """One item."""
        found = self.items_by(t.items.c.id, [item_id])
        return found[0] if found else None

    def items_by_seq(self, seqs: Sequence[int]) -> dict[int, Item]:
        """Items by seq; those that are gone are left out."""
        return {item.seq: item for item in self.items_by(t.items.c.seq, seqs)}

    def items_by_id(self, ids: Sequence[str]) -> dict[str, Item]:
        """Items by id; those that are gone are left out."""
        return {item.id: item for item in self.items_by(t.items.c.id, ids)}

    def items_by(self, column: sa.Column[Any], values: Sequence[Any]) -> list[Item]:
        """Items whose column has one of the values."""
        found: list[Item] = []
        with self.engine.connect() as db:
            for start in range(0, len(values), _CHUNK):
                chunk = values[start : start + _CHUNK]
                found += [_item(row) for row in db.execute(sa.select(t.items).where(column.in_(chunk)))]
        return found

    def page(self, site: str, where: ItemFilter, after: int, limit: int) -> list[Item]:
        """Items of a site in order of enrolling, from behind seq `after`."""
        wanted = (
            sa.select(t.items).where(t.items.c.seq > after, *_conditions(site, where)).order_by(t.items.c.seq)
        )
        with self.engine.connect() as db:
            return [_item(row) for row in db.execute(wanted.limit(limit))]

    def seqs(self, site: str, where: ItemFilter | None = None) -> np.ndarray:
        """int64 seqs of a site's items, ascending."""
        wanted = (
            sa.select(t.items.c.seq).where(*_conditions(site, where or ItemFilter())).order_by(t.items.c.seq)
        )
        with self.engine.connect() as db:
            return np.fromiter(db.execute(wanted).scalars(), np.int64)

    def cameras(self, site: str) -> tuple[np.ndarray, list[str | None]]:
        """Seqs and cameras of the items of a site whose images are kept."""
        wanted = sa.select(t.items.c.seq, t.items.c.camera).join(t.images, t.images.c.seq == t.items.c.seq)
        with self.engine.connect() as db:
            rows = db.execute(wanted.where(t.items.c.site == site).order_by(t.items.c.seq)).all()
        return np.array([row.seq for row in rows], np.int64), [row.camera for row in rows]

    def count(self, site: str) -> int:
        """Items of a site."""
        with self.engine.connect() as db:
            return (
                db.scalar(sa.select(sa.func.count()).select_from(t.items).where(t.items.c.site == site)) or 0
            )

    def image(self, seq: int) -> bytes | None:
        """The uploaded bytes of an item, where they are kept."""
        with self.engine.connect() as db:
            return db.scalar(sa.select(t.images.c.data).where(t.images.c.seq == seq))

    def images(self, seqs: Sequence[int]) -> dict[int, bytes]:
        """Uploaded bytes by seq; those that are gone are left out."""
        with self.engine.connect() as db:
            return {
                r.seq: r.data
                for r in db.execute(sa.select(t.images).where(t.images.c.seq.in_([int(s) for s in seqs])))
            }

    def erase(self, seqs: Sequence[int], actor: str, site: str, reason: dict[str, Any]) -> int:
        """Deletes items with image and embeddings in every space, and notes it in the audit log. Returns how
        many."""
        count = 0
        with self._write() as db:
            for start in range(0, len(seqs), _CHUNK):
                chunk = [int(s) for s in seqs[start : start + _CHUNK]]
                for table in (t.embeddings, t.images, t.items):  # the items last: the others refer to them
                    deleted = db.execute(table.delete().where(table.c.seq.in_(chunk))).rowcount
                count += deleted
            _note(db, actor, "erase", site, reason | {"items": count})
        if self._is_sqlite:
            with self.engine.connect() as db:
                db.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))
        return count

    # Embeddings

    def embedding(self, seq: int, space_id: str) -> np.ndarray | None:
        """float32 [D] of an item in a space."""
        wanted = sa.select(t.embeddings.c.vector).where(
            t.embeddings.c.seq == seq, t.embeddings.c.space_id == space_id
        )
        with self.engine.connect() as db:
            data = db.scalar(wanted)
        return np.frombuffer(data, "<f2").astype(np.float32) if data is not None else None

    def embedded(self, site: str, space_id: str, chunk: int = 16_384) -> Iterator[Embedded]:
        """Every embedding of a site in a space, ascending by seq, in chunks."""
        wanted = (
            sa.select(t.items.c.seq, t.items.c.camera, t.embeddings.c.vector)
            .join(t.embeddings, t.embeddings.c.seq == t.items.c.seq)
            .where(t.items.c.site == site, t.embeddings.c.space_id == space_id)
            .order_by(t.items.c.seq)
        )
        with self.engine.connect() as db:
            for rows in db.execution_options(yield_per=chunk).execute(wanted).partitions():
                vectors = np.frombuffer(b"".join(r.vector for r in rows), "<f2").reshape(len(rows), -1)
                yield Embedded(np.array([r.seq for r in rows], np.int64), [r.camera for r in rows], vectors)

    def missing_embeddings(self, site: str, space_id: str) -> np.ndarray:
        """Seqs of the items of a site that have no embedding in a space, ascending."""
        has = sa.exists().where(t.embeddings.c.seq == t.items.c.seq, t.embeddings.c.space_id == space_id)
        wanted = sa.select(t.items.c.seq).where(t.items.c.site == site, ~has).order_by(t.items.c.seq)
        with self.engine.connect() as db:
            return np.fromiter(db.execute(wanted).scalars(), np.int64)

    def add_embeddings(self, space_id: str, seqs: Sequence[int], vectors: np.ndarray) -> None:
        """Adds embeddings of items in another space; items that were erased meanwhile are left out."""
        halves = vectors.astype("<f2")
        with self._write() as db:
            alive = set(
                db.execute(
                    sa.select(t.items.c.seq).where(t.items.c.seq.in_([int(s) for s in seqs]))
                ).scalars()
            )
            rows = [
                {"space_id": space_id, "seq": int(s), "vector": v.tobytes()}
                for s, v in zip(seqs, halves, strict=True)
                if s in alive
            ]
            if rows:
                db.execute(t.embeddings.insert(), rows)

    def drop_unused_spaces(self) -> int:
        """Deletes embeddings of spaces that no site's live version or its parent uses, and profiles nothing
        names."""
        used: set[str] = set()
        for live in self.live_versions():
            used.add(live.space_id)
            parent = self.version(live.site, live.parent) if live.parent is not None else None
            if parent is not None:
                used.add(parent.space_id)
        with self.engine.connect() as db:
            stale = [
                space
                for space in db.execute(sa.select(t.embeddings.c.space_id).distinct()).scalars()
                if space not in used
            ]
        count = sum(self._drop_space(space) for space in stale)
        with self._write() as db:
            db.execute(t.profiles.delete().where(t.profiles.c.id.not_in(sa.select(t.versions.c.profile_id))))
        return count

    def _drop_space(self, space: str) -> int:
        """Deletes a space in pieces, so that enrolls get their turn between them."""
        some = sa.select(t.embeddings.c.seq).where(t.embeddings.c.space_id == space).limit(2000)
        count = 0
        while True:
            with self._write() as db:
                deleted = db.execute(
                    t.embeddings.delete().where(
                        t.embeddings.c.space_id == space, t.embeddings.c.seq.in_(some)
                    )
                ).rowcount
            if not deleted:
                return count
            count += deleted

    # Jobs

    def save_job(self, values: dict[str, Any]) -> None:
        """Inserts a job or updates it by id."""
        with self._write() as db:
            if not db.execute(t.jobs.update().where(t.jobs.c.id == values["id"]).values(**values)).rowcount:
                db.execute(t.jobs.insert().values(**values))

    def job(self, job_id: str) -> dict[str, Any] | None:
        """A job's row."""
        with self.engine.connect() as db:
            row = db.execute(sa.select(t.jobs).where(t.jobs.c.id == job_id)).first()
        return dict(row._mapping) if row is not None else None

    def fail_interrupted_jobs(self) -> int:
        """Marks jobs that a crash cut off as failed; called at start, when none can be running."""
        why = {
            "error": "the server stopped while this job ran; the site kept its version; start the job again"
        }
        open_states = t.jobs.c.state.in_(["queued", "running"])
        with self._write() as db:
            return db.execute(
                t.jobs.update().where(open_states).values(state="failed", stage="interrupted", report=why)
            ).rowcount

    # Keys and audit

    def add_key(self, key_id: str, digest: str, scopes: str) -> None:
        """Keeps the digest of an API key."""
        with self._write() as db:
            db.execute(
                t.keys.insert().values(id=key_id, digest=digest, scopes=scopes, created_at=time.time())
            )

    def api_keys(self) -> list[dict[str, Any]]:
        """Every key: id, digest, scopes, created_at."""
        with self.engine.connect() as db:
            return [dict(row._mapping) for row in db.execute(sa.select(t.keys).order_by(t.keys.c.created_at))]

    def revoke_key(self, key_id: str) -> bool:
        """Deletes a key; False where there is none."""
        with self._write() as db:
            return db.execute(t.keys.delete().where(t.keys.c.id == key_id)).rowcount > 0

    def note(self, actor: str, action: str, site: str | None, detail: dict[str, Any]) -> None:
        """One line in the audit log."""
        with self._write() as db:
            _note(db, actor, action, site, detail)

    @property
    def _is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self.write_lock, self.engine.connect() as db, db.begin():
            if self._is_sqlite:
                db.execute(sa.text("BEGIN IMMEDIATE"))
            yield db


def _open(url: str) -> Engine:
    engine = sa.create_engine(url, json_serializer=lambda value: json.dumps(value, ensure_ascii=False))
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def settle(connection: Any, _: object) -> None:
            connection.isolation_level = None  # transactions are begun by us, not by the driver's guess
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "secure_delete=ON",
                "busy_timeout=30000",
            ):
                connection.execute(f"PRAGMA {pragma}")

    return engine


def _item(row: Row[Any]) -> Item:
    return Item(**row._mapping)


def _note(db: Connection, actor: str, action: str, site: str | None, detail: dict[str, Any]) -> None:
    db.execute(t.audit.insert().values(at=time.time(), actor=actor, action=action, site=site, detail=detail))


def _conditions(site: str, where: ItemFilter) -> list[sa.ColumnElement[bool]]:
    columns = t.items.c
    found: list[sa.ColumnElement[bool]] = [columns.site == site]
    if where.camera is not None:
        found.append(columns.camera == where.camera)
    if where.identity is not None:
        found.append(columns.identity == where.identity)
    if where.captured_after is not None:
        found.append(columns.captured_at >= where.captured_after)
    if where.captured_before is not None:
        found.append(columns.captured_at < where.captured_before)
    for key, value in where.metadata.items():
        element = columns.metadata[key]
        if isinstance(value, bool):
            found.append(element.as_boolean() == value)
        elif isinstance(value, (int, float)):
            found.append(element.as_float() == value)
        else:
            found.append(element.as_string() == str(value))
    return found
