"""One server has a gallery: it alone keeps the index in memory that belongs to what is stored.

Two things hold this. A lock that ends with the process lets a second server start only after the first. A
token in the database, which every write of the owner compares in its transaction, holds also where the lock
failed: when a connection to PostgreSQL was cut, a lock file was deleted, or a network file system does not
lock. The next server that starts puts its own token there, and from then on no write of the earlier one is
committed. The earlier one notices within seconds, and stops.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from server.errors import GalleryInUse, StoreUnavailable
from server.gallery import tables as t
from server.gallery.address import FILE
from server.gallery.database import Database, no_guard
from server.gallery.locks import FileLock, Lock, SessionLock
from server.gallery.migrate import migrate

_CHECK_S = 2.0


class Owner:
    """This process's hold on a gallery, from the beginning to `release` or the end of the process.

    Args:
        database: is brought to the newest schema, which only its owner may do.
        folder: a data folder that this process has too, for its work.

    Raises GalleryInUse where another process has the gallery or the folder.
    """

    def __init__(self, database: Database, folder: Path | None = None) -> None:
        self.database = database
        self.token = uuid.uuid4().hex
        self.lost = threading.Event()
        self.when_lost: Callable[[], object] = lambda: None  # called from another thread, once
        self.unwatched = threading.Event()
        self.locks: list[Lock] = []
        try:
            file = database.file
            self._take(FileLock(file) if file is not None else SessionLock(database.engine), database.title)
            if folder is not None and folder.resolve() / FILE != file:
                self._take(FileLock(folder.resolve() / FILE), f"data folder {folder}")
            migrate(database)
            self._put_token()
            self.gallery = self._gallery()
        except BaseException:
            self._release_locks()
            raise
        database.guard = self._require_token
        self.watch = threading.Thread(target=self._watch, name="owner", daemon=True)
        self.watch.start()

    def stop_watching(self) -> None:
        """Ends the thread that uses the database; the gallery stays taken."""
        self.unwatched.set()
        self.watch.join()

    def release(self) -> None:
        """Lets others have the gallery. No write of this process is compared with its token any more."""
        self.stop_watching()
        self.database.guard = no_guard
        self._release_locks()

    @property
    def sentence(self) -> str:
        """What to say when the gallery was lost."""
        return f"another server has taken {self.database.title} over, so this one writes nothing and stops"

    def _take(self, lock: Lock, title: str) -> None:
        holder = lock.take()
        if holder is not None:
            raise GalleryInUse(
                f"{title} is in use by {holder}; stop that server first, or start this one with another "
                "--data or --store"
            )
        self.locks.append(lock)

    def _release_locks(self) -> None:
        for lock in self.locks:
            lock.release()

    def _put_token(self) -> None:
        """Waits for transactions of an earlier owner, if there are any; none is committed after it."""
        with self.database.write() as db:
            if not db.execute(t.owner.update().values(token=self.token)).rowcount:
                db.execute(t.owner.insert().values(id=1, token=self.token))

    def _gallery(self) -> str:
        """The gallery's name in an index outside of it, which stays the same."""
        with self.database.write() as db:
            name: str | None = db.scalar(sa.select(t.owner.c.gallery))
            if name is None:
                name = uuid.uuid4().hex[:16]
                db.execute(t.owner.update().values(gallery=name))
            return name

    def _require_token(self, db: sa.Connection) -> None:
        # read=True: another server's `_put_token` waits until this transaction has ended
        if db.scalar(sa.select(t.owner.c.token).with_for_update(read=True)) != self.token:
            self._lose()
            raise StoreUnavailable(self.sentence)

    def _watch(self) -> None:
        while not self.unwatched.wait(_CHECK_S) and not self.lost.is_set():
            for lock in self.locks:
                lock.keep()
            try:
                with self.database.read() as db:
                    token = db.scalar(sa.select(t.owner.c.token))
            except (StoreUnavailable, sa.exc.SQLAlchemyError):
                continue  # nobody can write now; the token tells afterwards whether somebody else began to
            if token != self.token:
                self._lose()

    def _lose(self) -> None:
        if not self.lost.is_set():
            self.lost.set()
            self.when_lost()
