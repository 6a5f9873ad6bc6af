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

_DAY_S = 86_400.0
_DROP_EVERY_S = 3_600.0


@dataclasses.dataclass(frozen=True)
class CommittedRequest:
    """A request that was committed."""

    fingerprint: str  # of its content
    answer: dict[str, Any]  # site, version, space_id
    seqs: list[int]  # its items that were not erased

    @property
    def erased(self) -> bool:
        """Whether every item of the request was erased; nothing else is known of it then."""
        return not self.fingerprint


class RequestRows:
    """Requests by their Idempotency-Key."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.spent_keys_s = 7 * _DAY_S  # how long a spent key is kept
        self.dropped_at = -_DROP_EVERY_S  # of `time.monotonic`

    def drop_spent(self) -> None:
        """Deletes keys that were spent long enough ago; looks for them once an hour at most."""
        now = time.monotonic()
        if now - self.dropped_at < _DROP_EVERY_S:
            return
        kept = t.requests.c
        old = sa.and_(kept.fingerprint == "", kept.created_at < time.time() - self.spent_keys_s)
        with self.database.write() as db:
            db.execute(t.requests.delete().where(old))
        self.dropped_at = now

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
        db.execute(spent.values(fingerprint="", answer={}, created_at=time.time()))
