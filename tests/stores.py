"""Stores for tests that hold on every database."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.postgres import PostgresProcess
from server.gallery.records import Version
from server.gallery.store import Store

BACKENDS = ("sqlite", "postgresql")  # names that `open_store` takes


def open_store(backend: str, folder: Path, request: pytest.FixtureRequest) -> Store:
    """An empty store on this database: below the folder, or in the PostgreSQL server of the tests."""
    if backend == "sqlite":
        return Store(folder)
    postgres: PostgresProcess = request.getfixturevalue("postgres")
    return Store(postgres.new_database("gallery"))


def add_site(store: Store, name: str) -> None:
    """A site whose embeddings have 4 values."""
    store.versions.add_site(Version(name, 1, "profile", "space", "space", 4, None, "created", time.time()))
