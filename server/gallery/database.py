"""The connection to the SQL database: transactions that are on disk when they have ended.

SQLite runs in WAL mode with synchronous=FULL: a commit survives a killed process and a lost power supply.
It overwrites deleted rows (secure_delete) and keeps its temporary data in memory, never in files. PostgreSQL
commits as safely (synchronous_commit is turned on where a server has it off); it keeps deleted rows in its
pages until they are used again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from server.errors import StartError
from server.gallery import tables as t
from server.gallery.address import address_of, file_of, refuse_other_names, shown, title_of
from server.gallery.faults import NotKept, as_problems

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    "temp_store=MEMORY",
    "busy_timeout=30000",
)
_CHECKPOINT_WAIT_MS = 20  # SQLite lets nobody write while a checkpoint waits for readers
# A lost network ends a session after some 30 s instead of hours, here for the client, below for the server.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_POSTGRES = {"connect_timeout": 5, "tcp_user_timeout": 30_000} | _KEEPALIVE  # s, ms

_ERASED = "erased"  # ids of the items that a transaction erases, in its connection's info
_PROBE = 0  # id of a row that is never committed


def note_erased(db: Connection, ids: list[str]) -> None:
    """Has `when_erased` told of these items, once the transaction is committed."""
    db.info[_ERASED] += ids


def no_guard(db: Connection) -> None:
    """Refuses no transaction."""


class Database:
    """One database. Safe to use from any thread; the writes of a process take turns.

    `read` and `write` raise StoreUnavailable where the database fails and BadRequest for a value that it
    cannot keep.

    Args:
        place: a data folder, `sqlite:///PATH` or `postgresql://USER@HOST/NAME`.

    Raises StartError for anything else, and for a file that has a second name by a hard link.
    """

    def __init__(self, place: str | Path) -> None:
        self.url = address_of(place)
        self.title = title_of(self.url)  # as sentences name it
        self.file = file_of(self.url)
        self.is_sqlite = self.file is not None
        if self.file is not None:
            refuse_other_names(self.file)
        self.write_lock = threading.RLock()
        self.guard: Callable[[Connection], None] = no_guard  # may refuse a transaction by raising
        # told the ids of items when they were erased, before anybody else learns of it
        self.when_erased: Callable[[list[str]], None] = lambda ids: None
        self.engine = _engine(self.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that only reads."""
        with as_problems(self.title), self.engine.connect() as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back by an exception."""
        with as_problems(self.title), self.write_lock, self.engine.connect() as db:
            db.info[_ERASED] = []
            with db.begin():
                if self.is_sqlite:
                    db.execute(sa.text("BEGIN IMMEDIATE"))
                self.guard(db)
                yield db
            if db.info[_ERASED]:
                self.when_erased(db.info[_ERASED])

    def check_writable(self) -> None:
        """Writes and takes back a row, which nobody sees. Raises StoreUnavailable where that fails, like on a
        full disk."""
        with self.write() as db:  # an update to the same value would write nothing
            db.execute(t.owner.insert().values(id=_PROBE, token=""))
            db.execute(t.owner.delete().where(t.owner.c.id == _PROBE))

    def empty_log(self) -> bool:
        """Moves SQLite's write-ahead log into the database file and empties it. False where a reader still
        needs the log or somebody writes; waits 20 ms for them at most."""
        with self.engine.connect() as db:
            db.detach()  # this setting ends with this connection
            db.execute(sa.text(f"PRAGMA busy_timeout={_CHECKPOINT_WAIT_MS}"))
            busy, _, _ = db.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)")).one()
        return not busy

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def _engine(url: sa.URL) -> sa.Engine:
    # hide_parameters: what somebody enrolled must not reach the log through an error
    options: dict[str, Any] = {"json_serializer": _to_json, "hide_parameters": True}
    if url.get_backend_name() == "postgresql":
        chosen = {name: value for name, value in _POSTGRES.items() if name not in url.query}
        options |= {"pool_pre_ping": True, "connect_args": chosen}
    try:
        engine = sa.create_engine(url, **options)
    except ModuleNotFoundError as error:
        raise StartError(
            f"store {shown(url)} needs the extra 'postgres': pip install -e '.[postgres]'"
        ) from error
    settle = _settle_sqlite if engine.dialect.name == "sqlite" else _settle_postgres
    sa.event.listen(engine, "connect", settle)
    return engine


def _to_json(value: Any) -> str:
    """JSON without NaN and Infinity, which neither PostgreSQL nor other readers take. Raises NotKept."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise NotKept(str(error)) from error


def _settle_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we begin transactions, the driver does not guess where they start
    connection.text_factory = _text  # bytes that are not UTF-8 cost their letters, not the whole answer
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _settle_postgres(connection: Any, _: object) -> None:
    """A commit is on disk also where the server was told to answer before that; a lost client is noticed."""
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    for name, value in _KEEPALIVE.items():
        connection.execute(f"SET tcp_{name} = {value}")
    connection.commit()
