"""What the database driver raises, as the sentences that callers get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from server.errors import BadRequest, StoreUnavailable

# what SQLite says -> what it means and what to do
_SQLITE = {
    "database or disk is full": "its disk is full; free some space",
    "disk I/O error": "its disk cannot be read or written (disk I/O error); look at it and its free space",
    "database is locked": "another program keeps its file locked; end that program",
    "attempt to write a readonly database": "its file or folder may not be written; change its rights",
    "unable to open database file": "its file cannot be opened; look at the folder and its rights",
    "file is not a database": "its file is no SQLite database; restore it from a backup",
    "malformed": "its file is damaged; restore it from a backup",
}


class NotKept(ValueError):
    """A value that no database keeps."""


@contextmanager
def as_problems(title: str) -> Iterator[None]:
    """Raises StoreUnavailable where the database failed, BadRequest where it cannot keep a value.

    IntegrityError and errors in our own SQL pass through.

    Args:
        title: of the gallery, for the sentence.
    """
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
        raise
    except sa.exc.DataError as error:
        raise BadRequest(f"the gallery cannot keep a value of this request: {reason_of(error)}") from error
    except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        raise StoreUnavailable(f"{title} does not answer: {reason_of(error)}") from error
    except (sa.exc.StatementError, NotKept, UnicodeEncodeError, OverflowError) as error:
        reason = error.orig if isinstance(error, sa.exc.StatementError) else error
        raise BadRequest(f"the gallery cannot keep a value of this request: {reason}") from error


def reason_of(error: Exception) -> str:
    """What went wrong, in one line, without the statement and its values."""
    cause = error.orig if isinstance(error, sa.exc.StatementError) else error
    words = " ".join(str(cause).split())
    for part, sentence in _SQLITE.items():
        if part in words:
            return sentence
    return words
