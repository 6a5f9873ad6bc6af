"""Stores for tests that hold on every database."""

from __future__ import annotations

import time
from pathlib import Path

from server.gallery.records import Version
from server.gallery.store import Store

BACKENDS = ("sqlite",)  # names that `open_store` takes


def open_store(backend: str, folder: Path) -> Store:
    """An empty store on this database; whatever it writes lies below the folder."""
    if backend == "sqlite":
        return Store(folder)
    raise ValueError(f"no database {backend!r}; known: {', '.join(BACKENDS)}")


def add_site(store: Store, name: str) -> None:
    """A site whose embeddings have 4 values."""
    store.versions.add_site(Version(name, 1, "profile", "space", 4, None, "created", time.time()))
