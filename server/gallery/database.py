"""The connection to the SQL database: transactions that are on disk when they have ended.

SQLite runs in WAL mode with synchronous=FULL: a commit survives a killed process and a lost power supply.
Deleted rows are overwritten (secure_delete). PostgreSQL does the same by its defaults.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from server.errors import StartError
from server.gallery.migrate import migrate

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    "busy_timeout=30000",
)


class Database:
    """One database with the newest schema. Safe to use from any thread; the writes of a process take turns.

    Args:
        url: `sqlite:///PATH` or `postgresql://USER@HOST/NAME`.

    Raises StartError when the URL cannot be used or a newer Resight made the database.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise StartError(f"store {url!r} is no database URL; like sqlite:///gallery.db") from error
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise StartError(
                f"store {_shown(parsed)} is neither sqlite:///PATH nor postgresql://USER@HOST/NAME"
            )
        self.url = parsed
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.write_lock = threading.RLock()
        self.engine = _engine(parsed)
        try:
            migrate(self.engine)
        except sa.exc.OperationalError as error:
            raise StartError(f"store {_shown(parsed)} cannot be opened: {error.orig}") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that only reads."""
        with self.engine.connect() as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back by an exception."""
        with self.write_lock, self.engine.connect() as db, db.begin():
            if self.is_sqlite:
                db.execute(sa.text("BEGIN IMMEDIATE"))
            yield db

    def writable(self) -> bool:
        """True when a write transaction can be begun and ended."""
        try:
            with self.write() as db:
                db.execute(sa.text("SELECT 1"))
            return True
        except sa.exc.SQLAlchemyError:
            return False

    def truncate_log(self) -> None:
        """Removes what was deleted from SQLite's write-ahead log too."""
        if self.is_sqlite:
            with self.engine.connect() as db:
                db.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def sqlite_url(folder: Path) -> str:
    """The URL of the SQLite database inside a data folder."""
    return f"sqlite:///{folder / 'gallery.db'}"


def _shown(url: sa.URL) -> str:
    return url.render_as_string(hide_password=True)


def _engine(url: sa.URL) -> sa.Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        engine = sa.create_engine(url, json_serializer=_to_json)
    except ModuleNotFoundError as error:
        raise StartError(
            f"store {_shown(url)} needs the extra 'postgres': pip install -e '.[postgres]'"
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _settle_sqlite)
    return engine


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _settle_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we begin transactions, the driver does not guess where they start
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
