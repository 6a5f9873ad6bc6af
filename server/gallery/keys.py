"""API keys, as digests."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database


class KeyRows:
    """The keys there are; their text is not kept."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, key_id: str, digest: str, scopes: str) -> None:
        """Keeps the digest of an API key."""
        row = {"id": key_id, "digest": digest, "scopes": scopes, "created_at": time.time()}
        with self.database.write() as db:
            db.execute(t.keys.insert().values(**row))

    def all(self) -> list[dict[str, Any]]:
        """Every key: id, digest, scopes, created_at; oldest first."""
        with self.database.read() as db:
            return [dict(row._mapping) for row in db.execute(sa.select(t.keys).order_by(t.keys.c.created_at))]

    def revoke(self, key_id: str) -> bool:
        """Deletes a key; False where there is none."""
        with self.database.write() as db:
            return db.execute(t.keys.delete().where(t.keys.c.id == key_id)).rowcount > 0
