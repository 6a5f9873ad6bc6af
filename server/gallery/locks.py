"""Locks that end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from server.errors import StartError

_KEY = 0x52455349  # the advisory locks of Resight: "RESI"
_NO_LOCKS = "keep the gallery on a local disk or on a file system with locks (NFS 4, or NFS 3 with lockd)"
_SCHEMA = "hashtext(coalesce(current_schema(), ''))"
_HOLDER = (
    "SELECT activity.application_name, activity.backend_start "  # noqa: S608  made of constants
    "FROM pg_locks JOIN pg_stat_activity AS activity USING (pid) "
    f"WHERE locktype = 'advisory' AND granted AND classid = {_KEY} AND objsubid = 2 "
    f"AND objid = ({_SCHEMA}::bigint & 4294967295)::oid "
    "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Lock(Protocol):
    """At most one process has it."""

    def take(self) -> str | None:
        """Takes the lock and returns None; where another process has it, says which one and since when.

        Raises StartError where locking fails.
        """
        ...

    def keep(self) -> None:
        """Takes the lock again where it was lost and is free. Never raises."""
        ...

    def release(self) -> None:
        """Gives the lock back."""
        ...


class FileLock:
    """`flock` on a file beside an SQLite database. The kernel frees it when the process ends.

    Args:
        database: the SQLite file; the lock's file has `.owner` behind its name.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.owner")
        self.descriptor: int | None = None

    def take(self) -> str | None:
        """See Lock."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StartError(_unusable(self.path.parent, error)) from error
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.pread(self.descriptor, 4096, 0))
            self.release()
            return holder
        except OSError as error:
            self.release()
            raise StartError(f"{self.path} cannot be locked ({error.strerror}); {_NO_LOCKS}") from error
        facts = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": _iso(datetime.datetime.now(datetime.timezone.utc)),
        }
        try:
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, json.dumps(facts).encode(), 0)
        except OSError as error:
            self.release()
            raise StartError(_unusable(self.path.parent, error)) from error
        return None

    def keep(self) -> None:
        """The kernel keeps it."""

    def release(self) -> None:
        """See Lock."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class SessionLock:
    """An advisory lock of a PostgreSQL session, one for each schema; PostgreSQL frees it with the session.

    Args:
        engine: of the database; the lock has a connection of its own.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.session: sa.Connection | None = None

    def take(self) -> str | None:
        """See Lock."""
        session = self.engine.connect()
        try:
            session.detach()  # not one that the pool hands out
            name = f"process {os.getpid()} on {socket.gethostname()}"[:63]
            session.execute(sa.text("SELECT set_config('application_name', :name, false)"), {"name": name})
            if session.scalar(sa.text(f"SELECT pg_try_advisory_lock({_KEY}, {_SCHEMA})")):
                self.session = session
                return None
            holder = session.execute(sa.text(_HOLDER)).first()
        except BaseException:
            session.invalidate()
            raise
        session.close()
        if holder is None:
            return "another process"
        since = holder.backend_start  # None for a role that may not see it
        return holder.application_name + (f" since {_iso(since)}" if since is not None else "")

    def keep(self) -> None:
        """See Lock."""
        with contextlib.suppress(sa.exc.SQLAlchemyError):
            if self.session is not None:
                try:
                    self.session.execute(sa.text("SELECT 1"))
                    return
                except sa.exc.SQLAlchemyError:
                    self.release()
            self.take()

    def release(self) -> None:
        """See Lock."""
        if self.session is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                # PostgreSQL ends a session some time after it was closed here, and the lock only then
                if not self.session.invalidated:
                    self.session.execute(sa.text(f"SELECT pg_advisory_unlock({_KEY}, {_SCHEMA})"))
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self.session.close()
            self.session = None


def _iso(moment: datetime.datetime) -> str:
    return f"{moment.astimezone(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def _holder(content: bytes) -> str:
    """`process PID since TIME`, with its host where that is another one."""
    try:
        facts: dict[str, Any] = json.loads(content)
        where = "" if facts["host"] == socket.gethostname() else f" on {facts['host']}"
        return f"process {facts['pid']}{where} since {facts['since']}"
    except (ValueError, KeyError, TypeError):  # it took the lock a moment ago and has not written yet
        return "another process"


def _unusable(folder: Path, error: OSError) -> str:
    reason = "it is a file" if folder.is_file() else error.strerror
    return (
        f"data folder {folder} cannot be used ({reason}); choose one that the server may write, with --data"
    )
