"""The store: items, images, embeddings and versions in SQL. What a method has returned from is on disk."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from server.errors import Problem, StartError, StoreAway
from server.gallery.audit import AuditRows
from server.gallery.database import Database
from server.gallery.embeddings import EmbeddingRows
from server.gallery.faults import reason_of
from server.gallery.fits import FitRows
from server.gallery.items import ItemRows
from server.gallery.jobs import JobRows
from server.gallery.journal import JournalRows
from server.gallery.keys import KeyRows
from server.gallery.migrate import is_newest
from server.gallery.owner import Owner
from server.gallery.people import PeopleRows
from server.gallery.purge import Purge
from server.gallery.requests import RequestRows
from server.gallery.reviews import ReviewRows
from server.gallery.schedules import ScheduleRows
from server.gallery.versions import VersionRows


class Store:
    """One database and its tables, each behind a class of its own.

    Args:
        place: a data folder, which gets an SQLite file `gallery.db`, or `sqlite:///PATH` or
            `postgresql://USER@HOST/NAME`. What is missing is made.
        folder: the server's data folder, which this process then has too.
        beside: opens an existing gallery, also while a server has it, for the tables that the server does not
            keep in memory: keys, audit.

    Raises StartError when the database cannot be opened or a newer Resight made it: GalleryInUse where
    another process has it, StoreAway where it does not answer.
    """

    def __init__(self, place: str | Path, folder: Path | None = None, beside: bool = False) -> None:
        self.database = Database(place)
        self.owner: Owner | None = None
        try:
            if not beside:
                self.owner = Owner(self.database, folder)
            elif not is_newest(self.database):
                Owner(self.database).release()  # brings it to the newest schema
            self.purge = Purge(self.database, active=not beside)
        except BaseException as error:
            if self.owner is not None:
                self.owner.release()
            self.database.close()
            if isinstance(error, Problem):
                raise StoreAway(error.detail) from error
            if isinstance(error, sa.exc.SQLAlchemyError):
                away = isinstance(
                    error, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
                )
                raise (StoreAway if away else StartError)(
                    f"{self.database.title} cannot be opened: {reason_of(error)}"
                ) from error
            if isinstance(error, OSError):
                raise StartError(f"{self.database.title} cannot be opened: {error.strerror}") from error
            raise
        self.versions = VersionRows(self.database)
        self.items = ItemRows(self.database)
        self.embeddings = EmbeddingRows(self.database, self.versions)
        self.people = PeopleRows(self.database)
        self.journal = JournalRows(self.database)
        self.reviews = ReviewRows(self.database)
        self.requests = RequestRows(self.database)
        self.jobs = JobRows(self.database)
        self.schedules = ScheduleRows(self.database)
        self.fits = FitRows(self.database)
        self.keys = KeyRows(self.database)
        self.audit = AuditRows(self.database)

    def close(self) -> None:
        """Closes every connection and lets another process have the gallery."""
        self.purge.close()
        if self.owner is not None:
            self.owner.stop_watching()  # it would open a connection again
        self.database.close()
        self.purge.close_file()
        if self.owner is not None:
            self.owner.release()
