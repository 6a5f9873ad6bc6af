"""Enroll requests that were committed under an Idempotency-Key, so that a repeated one enrolls nothing
twice."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database
from server.gallery.records import EnrollRequest


class RequestRows:
    """The answers of requests by their Idempotency-Key."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def answer(self, key: str) -> tuple[str, dict[str, Any]] | None:
        """(fingerprint, answer) of the request that was committed under this key; the answer has the ids of
        its items."""
        query = sa.select(t.requests.c.fingerprint, t.requests.c.answer).where(t.requests.c.key == key)
        with self.database.read() as db:
            row = db.execute(query).first()
        return (row.fingerprint, row.answer) if row is not None else None


def remember(db: sa.Connection, request: EnrollRequest, ids: list[str]) -> None:
    """Keeps a request's answer, inside the transaction that commits its items."""
    answer = request.answer | {"ids": ids}
    row = {
        "key": request.key,
        "fingerprint": request.fingerprint,
        "answer": answer,
        "created_at": time.time(),
    }
    db.execute(t.requests.insert().values(**row))
