"""Overwrites what SQLite leaves of deleted rows in its file although secure_delete is on.

When rows are redistributed over the pages of a table, SQLite rebuilds a page without clearing the part that
becomes free between its cell pointers and its cells (`rebuildPage` in btree.c, seen with 3.40). Copies of
rows that moved to another page stay there, and later deletions do not know of them. Nothing ever reads this
part, so it is overwritten with zeros in the file itself.

This happens while no other connection writes and no newer copy of the page is in the write-ahead log. A
commit after it makes every connection read its pages again, so that none writes an old copy back.
File format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from server.gallery.database import Database

_TREE_PAGES = (2, 5, 10, 13)  # first byte of interior and leaf pages of indexes and tables
_INTERIOR = (2, 5)
_AT_ONCE = 8 * 1024 * 1024  # bytes read at once
# Pages that hold parts of long values begin with a page number, so their first byte is one of _TREE_PAGES
# only in files with more pages than this (128 GiB).
_MOST_PAGES = 2 << 24


class FileTooLarge(RuntimeError):
    """The file has so many pages that parts of long values cannot be told from pages of rows."""


class Residue:
    """Cleans the file of one SQLite database.

    The file stays open as long as this process uses the database: POSIX drops the locks of every connection
    of a process when it closes any descriptor of the file.
    """

    def __init__(self, database: Database, file: Path) -> None:
        self.database = database
        self.log = file.with_name(f"{file.name}-wal")
        self.handle = file.open("r+b", buffering=0)
        self.descriptor = self.handle.fileno()

    def close(self) -> None:
        """Closes the file, after the connections."""
        self.handle.close()

    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self.descriptor).st_size

    def overwrite(self) -> bool:
        """Overwrites every copy of a row that was deleted before this call; writes go on meanwhile.

        Returns False where a reader or another process stands in the way; try again then.
        """
        if not self._has_log():
            with self._alone():
                self._clear(self._dirty(range(2, self._pages() + 1)))
            return True
        with self._frozen() as frozen:
            if not frozen:
                return False
            dirty = self._dirty(range(2, self._pages() + 1))
            with self._alone():
                rewritten = dirty & self._logged()
                self._clear(dirty)
        if not rewritten:
            return True
        # These pages were written again meanwhile, perhaps with their old copies.
        with self.database.write_lock:
            if not self.database.empty_log():
                return False
            with self._alone():
                if self._logged():
                    return False
                self._clear(self._dirty(sorted(rewritten)))
        return True

    @contextlib.contextmanager
    def _frozen(self) -> Iterator[bool]:
        """While a reader is open that began with an empty log, every change goes to the log and none to the
        file. Yields False where that cannot be had now."""
        with self.database.engine.connect() as reader:
            reader.detach()
            reader.execute(sa.text("PRAGMA wal_checkpoint(PASSIVE)")).one()  # the long part, beside writers
            with self.database.write_lock:
                empty = self.database.empty_log()
                reader.execute(sa.text("BEGIN"))
                reader.execute(sa.text("SELECT count(*) FROM sqlite_master")).scalar()
                empty = empty and not self._logged()
            yield empty

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """A transaction without other writers; its commit makes every connection read its pages again."""
        with self.database.write_lock, self.database.engine.connect() as writer:
            writer.detach()
            writer.execute(sa.text("BEGIN IMMEDIATE"))
            yield
            number = writer.scalar(sa.text("PRAGMA user_version")) or 0
            writer.execute(sa.text(f"PRAGMA user_version = {(number + 1) % 2**31}"))
            writer.commit()

    def _has_log(self) -> bool:
        """False on a file system that cannot do it; SQLite keeps a rollback journal there."""
        with self.database.engine.connect() as db:
            return db.scalar(sa.text("PRAGMA journal_mode")) == "wal"

    def _pages(self) -> int:
        return self.size() // self._page_size()

    def _page_size(self) -> int:
        size = int.from_bytes(os.pread(self.descriptor, 2, 16), "big")
        return 65536 if size == 1 else size

    def _logged(self) -> set[int]:
        """Numbers of the pages in the write-ahead log."""
        try:
            content = self.log.read_bytes()  # no lock is held on this file, so it may be closed
        except FileNotFoundError:
            return set()
        frame = 24 + self._page_size()
        starts = range(32, len(content) - frame + 1, frame)
        return {int.from_bytes(content[start : start + 4], "big") for start in starts}

    def _dirty(self, pages: Iterable[int]) -> set[int]:
        """Those of the pages whose free part is not empty. Page 1 holds the schema and no rows."""
        size, dirty = self._page_size(), set[int]()
        if self._pages() >= _MOST_PAGES:
            raise FileTooLarge(f"{self.database.title} is larger than {_MOST_PAGES * size} bytes")
        for first, content in self._read(pages, size):
            for row in np.flatnonzero(np.isin(content[:, 0], _TREE_PAGES)):
                start, end = _free_part(content[row])
                if content[row, start:end].any():
                    dirty.add(first + int(row))
        return dirty

    def _read(self, pages: Iterable[int], size: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (number of the first page, uint8 [n,size]) of neighbouring pages."""
        numbers = pages if isinstance(pages, range) else list(pages)
        step = _AT_ONCE // size if isinstance(numbers, range) else 1
        for start in range(0, len(numbers), step):
            first, count = numbers[start], len(numbers[start : start + step])
            content = np.frombuffer(os.pread(self.descriptor, count * size, (first - 1) * size), np.uint8)
            whole = len(content) // size
            yield first, content[: whole * size].reshape(whole, size)

    def _clear(self, pages: set[int]) -> None:
        size = self._page_size()
        for number in pages:
            page = np.frombuffer(os.pread(self.descriptor, size, (number - 1) * size), np.uint8)
            start, end = _free_part(page)
            os.pwrite(self.descriptor, bytes(end - start), (number - 1) * size + start)
        if pages:
            os.fsync(self.descriptor)


def _free_part(page: np.ndarray) -> tuple[int, int]:
    """uint8 [size] -> where the part between the cell pointers and the cells begins and ends."""
    header = page[:12].tobytes()
    cells = int.from_bytes(header[3:5], "big")
    start = (12 if header[0] in _INTERIOR else 8) + 2 * cells
    end = int.from_bytes(header[5:7], "big") or 65536
    return (start, end) if start <= end <= len(page) else (0, 0)
