"""Enroll requests that were committed under an Idempotency-Key, so that a repeated one enrolls nothing twice.

A request is kept as long as any of its items. After that its key is spent: the row only blocks it for some
days, so that a repetition which comes late does not enroll again what was erased; it says nothing any more
about what the request held.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database
from server.gallery.records import EnrollRequest

_DROP_EVERY_S = 3_600.0


@dataclasses.dataclass(frozen=True)
class CommittedRequest:
    """A request that was committed."""

    fingerprint: str  # of its content
    answer: dict[str, Any]  # site, version, space_id, errors
    seqs: list[int]  # its items that were not erased

    @property
    def erased(self) -> bool:
        """Whether every item of the request was erased; nothing else is known of it then."""
        return not self.fingerprint


class RequestRows:
    """Requests by their Idempotency-Key."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.dropped_at = -_DROP_EVERY_S  # of `time.monotonic`

    def drop_spent(self, older_than_s: float) -> int:
        """Deletes keys that were spent longer ago than this; looks for them once an hour at most.

        Returns how many: their bytes may stay in the database's files until `Store.purge` has succeeded.
        """
        now = time.monotonic()
        if now - self.dropped_at < _DROP_EVERY_S:
            return 0
        old = t.requests.c.spent_at < time.time() - older_than_s
        with self.database.write() as db:
            count = db.execute(t.requests.delete().where(old)).rowcount
        self.dropped_at = now
        return count

    def get(self, key: str) -> CommittedRequest | None:
        """The request that was committed under this key."""
        kept, named = t.requests.c, t.request_items.c
        request = sa.select(kept.fingerprint, kept.answer).where(kept.key == digest_of(key))
        items = sa.select(named.seq).where(named.key == digest_of(key)).order_by(named.seq)
        with self.database.read() as db:
            row = db.execute(request).first()
            seqs = list(db.execute(items).scalars())
        return CommittedRequest(row.fingerprint, row.answer, seqs) if row is not None else None


def digest_of(key: str) -> str:
    """What is kept of an Idempotency-Key: clients choose its text, and may have put a name into it."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def remember(db: sa.Connection, request: EnrollRequest, seqs: Sequence[int]) -> None:
    """Keeps a request and which items it made, inside the transaction that commits them."""
    key = digest_of(request.key)
    row = {"fingerprint": request.fingerprint, "answer": request.answer, "created_at": time.time()}
    db.execute(t.requests.insert().values(key=key, **row))
    db.execute(t.request_items.insert(), [{"key": key, "seq": seq} for seq in seqs])


def forget(db: sa.Connection, seqs: Sequence[int]) -> None:
    """Takes items out of the requests that made them, inside the transaction that erases them."""
    named = t.request_items.c
    keys = list(db.execute(sa.select(named.key).where(named.seq.in_(seqs)).distinct()).scalars())
    db.execute(t.request_items.delete().where(named.seq.in_(seqs)))
    left = sa.exists().where(named.key == t.requests.c.key)
    for key in keys:
        spent = t.requests.update().where(t.requests.c.key == key, ~left)
        db.execute(spent.values(fingerprint="", answer={}, spent_at=time.time()))
