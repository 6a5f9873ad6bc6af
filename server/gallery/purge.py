"""Erased bytes leave the files too.

SQLite overwrites what is deleted (secure_delete), but copies stay in its write-ahead log until a checkpoint
empties that, and in unused parts of its pages (`residue.py`). No checkpoint can empty the log while somebody
reads an older state of the database. So a purge is tried at once, and again in the background until it has
succeeded. Nothing waits for it.

PostgreSQL keeps deleted rows in its pages until VACUUM and later rows overwrite them, and in its write-ahead
log until that is recycled. Nothing here can tell when, so `purged` is None there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from server.errors import Problem
from server.gallery.database import Database
from server.gallery.faults import as_problems
from server.gallery.residue import FileTooLarge, Residue

log = logging.getLogger("resight")
_AT_ONCE = 64 * 1024 * 1024  # bytes of a file that is looked through before an erasure is answered (0.1 s)
_PAUSES_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)  # between attempts; the last one again and again


class Purge:
    """Purges one database.

    Args:
        active: False for a process that erases nothing and leaves this to the owner. Otherwise a first purge
            is tried at once, because an earlier process may have ended before its own was done.
    """

    def __init__(self, database: Database, active: bool = True) -> None:
        self.database = database
        self.lock = threading.Lock()  # of the two numbers
        self.turn = threading.Lock()  # one purge at a time
        self.erasures = self.purged_erasures = 0  # counted since this process began
        self.waiting_since: float | None = None  # seconds since 1970
        # folders of work that may hold images; see `server/work.py`
        self.copies: Callable[[], set[Path]] = set
        self.copies_of_erased: set[Path] = set()  # those that were there when something was erased
        self.closed, self.wake = threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None
        self.residue: Residue | None = None
        if active and database.file is not None:
            self.residue = Residue(database, database.file)
            self.after_erasure()
            self.thread = threading.Thread(
                target=self._retry, args=(self.residue,), name="purge", daemon=True
            )
            self.thread.start()

    @property
    def purged(self) -> bool | None:
        """True: what was erased is in no file any more. False: some is, and is being purged. None: this kind
        of database does not say."""
        if self.residue is None:
            return None
        with self.lock:
            return self.purged_erasures == self.erasures

    @property
    def waiting_s(self) -> float:
        """How long the oldest erasure that is not purged has waited; 0 where there is none."""
        since = self.waiting_since
        return 0.0 if since is None else time.time() - since

    def after_erasure(self) -> bool | None:
        """Tries to purge an erasure that was just committed, without waiting for readers. Returns what
        `purged` says of this erasure; where it is False, the purge is tried again in the background."""
        if self.residue is None:
            return None
        with self.lock:
            self.erasures += 1
            number = self.erasures
            self.waiting_since = self.waiting_since or time.time()
            self.copies_of_erased |= self.copies()
        if self.residue.size() <= _AT_ONCE:
            self._attempt(self.residue, number)
        if self.purged_erasures >= number:
            return True
        self.wake.set()
        return False

    def close(self) -> None:
        """Ends the attempts. What is left is tried again at the next start."""
        self.closed.set()
        self.wake.set()
        if self.thread is not None:
            self.thread.join()

    def close_file(self) -> None:
        """Closes the database file; the connections are closed by now."""
        if self.residue is not None:
            self.residue.close()

    def _attempt(self, residue: Residue, number: int) -> None:
        """Purges erasure `number` and those before it, unless another thread did so meanwhile."""
        with self.turn:
            with self.lock:
                if self.purged_erasures >= number:
                    return
                committed = self.erasures
                self.copies_of_erased &= self.copies()
                if self.copies_of_erased:
                    return
            try:
                with as_problems(self.database.title):
                    done = residue.overwrite()
            except (Problem, sa.exc.SQLAlchemyError, OSError, FileTooLarge) as error:
                log.warning("erased bytes could not be purged yet: %s", error)
                return
            if done:
                with self.lock:
                    self.purged_erasures = committed
                    if committed == self.erasures:
                        self.waiting_since = None

    def _retry(self, residue: Residue) -> None:
        while not self.closed.is_set():
            self.wake.wait()
            self.wake.clear()
            attempt = 0
            while not self.purged and not self.closed.wait(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]):
                self._attempt(residue, self.erasures)
                attempt += 1
