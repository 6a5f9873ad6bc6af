"""A PostgreSQL server of the tests' own, and a fresh database in it for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.postgres import PostgresProcess, postgres_programs
from server.gallery.store import Store

_TEMPLATE = "gallery"  # holds every table and nothing else: copying it is faster than making them


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    """One PostgreSQL server for all tests; skipped where none is installed, unless RESIGHT_REQUIRE_POSTGRES
    says that it must not lack."""
    programs = postgres_programs()
    if programs is None or find_spec("psycopg") is None:
        sentence = "PostgreSQL (Debian's package postgresql) or psycopg (the extra postgres) is not installed"
        if os.environ.get("RESIGHT_REQUIRE_POSTGRES"):
            raise RuntimeError(sentence)
        pytest.skip(sentence)
    with PostgresProcess(programs) as running:
        running.execute(f"CREATE DATABASE {_TEMPLATE}")
        Store(running.url(_TEMPLATE)).close()
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Where a test's store is: a data folder, then a PostgreSQL database."""
    if request.param == "sqlite":
        return tmp_path / "data"
    running: PostgresProcess = request.getfixturevalue("postgres")
    return running.new_database(_TEMPLATE)
