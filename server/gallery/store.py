"""The store: items, images, embeddings and versions in SQL. What a method has returned from is on disk."""

from __future__ import annotations

from pathlib import Path

from server.gallery.audit import AuditRows
from server.gallery.database import Database, sqlite_url
from server.gallery.embeddings import EmbeddingRows
from server.gallery.items import ItemRows
from server.gallery.jobs import JobRows
from server.gallery.keys import KeyRows
from server.gallery.requests import RequestRows
from server.gallery.versions import VersionRows


class Store:
    """One database and its tables, each behind a class of its own.

    Args:
        url: `sqlite:///PATH`, `postgresql://...`, or a folder, which gets an SQLite file `gallery.db`.

    Raises StartError when the database cannot be opened or a newer Resight made it.
    """

    def __init__(self, url: str | Path) -> None:
        if isinstance(url, Path):
            url.mkdir(parents=True, exist_ok=True)
            url = sqlite_url(url)
        self.database = Database(url)
        self.versions = VersionRows(self.database)
        self.items = ItemRows(self.database)
        self.embeddings = EmbeddingRows(self.database, self.versions)
        self.requests = RequestRows(self.database)
        self.jobs = JobRows(self.database)
        self.keys = KeyRows(self.database)
        self.audit = AuditRows(self.database)

    def close(self) -> None:
        """Closes every connection."""
        self.database.close()
