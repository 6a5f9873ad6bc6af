"""The audit log: who looked at an image, who erased what."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database


class AuditRows:
    """One line for each look and each erasure."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def note(self, actor: str, action: str, site: str | None, detail: dict[str, Any]) -> None:
        """Adds one line in a transaction of its own."""
        with self.database.write() as db:
            note(db, actor, action, site, detail)

    def lines(self) -> list[dict[str, Any]]:
        """Every line, oldest first: seq, at, actor, action, site, detail."""
        with self.database.read() as db:
            return [dict(row._mapping) for row in db.execute(sa.select(t.audit).order_by(t.audit.c.seq))]


def note(db: sa.Connection, actor: str, action: str, site: str | None, detail: dict[str, Any]) -> None:
    """Adds one line inside a transaction that is already open."""
    row = {"at": time.time(), "actor": actor, "action": action, "site": site, "detail": detail}
    db.execute(t.audit.insert().values(**row))
