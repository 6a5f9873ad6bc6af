"""The audit log: who looked at an image, who erased what."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database


class AuditRows:
    """One line for each look and each erasure."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def note(
        self, actor: str, action: str, site: str | None, detail: dict[str, Any], item: str | None = None
    ) -> None:
        """Adds one line in a transaction of its own.

        Args:
            item: id of the item that the line is about; the line forgets it when the item is erased.
        """
        with self.database.write() as db:
            note(db, actor, action, site, detail, item)

    def lines(self) -> list[dict[str, Any]]:
        """Every line, oldest first: seq, at, actor, action, site, detail (`item`: until it is erased)."""
        return self._read(sa.select(t.audit).order_by(t.audit.c.seq))

    def latest(self, before: int | None, limit: int) -> list[dict[str, Any]]:
        """Lines as `lines` gives them, newest first, from below seq `before` where that is given."""
        query = sa.select(t.audit).order_by(t.audit.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(t.audit.c.seq < before)
        return self._read(query)

    def _read(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self.database.read() as db:
            rows = db.execute(query).all()
        lines: list[dict[str, Any]] = []
        for row in rows:
            line = dict(row._mapping)
            item = line.pop("item")
            lines.append(line if item is None else line | {"detail": line["detail"] | {"item": item}})
        return lines


def note(
    db: sa.Connection,
    actor: str,
    action: str,
    site: str | None,
    detail: dict[str, Any],
    item: str | None = None,
) -> None:
    """Adds one line inside a transaction that is already open."""
    row = {"at": time.time(), "actor": actor, "action": action, "site": site, "detail": detail}
    present = sa.select(t.items.c.id).where(t.items.c.id == item).scalar_subquery()  # not of an erased item
    db.execute(t.audit.insert().values(**row, item=present if item is not None else None))


def forget(db: sa.Connection, ids: Sequence[str]) -> None:
    """Lines about these items no longer say which item it was."""
    db.execute(t.audit.update().where(t.audit.c.item.in_(ids)).values(item=None))
