"""Where a gallery is kept: a data folder or a database URL."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import sqlalchemy as sa

from server.errors import StartError

FILE = "gallery.db"  # the SQLite database inside a data folder
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
_SECRETS = ("password", "sslpassword", "passfile")


def address_of(place: str | Path) -> sa.URL:
    """A data folder, `sqlite:///PATH` or `postgresql://USER@HOST/NAME` -> the URL that SQLAlchemy opens.

    Raises StartError for anything else.
    """
    if isinstance(place, Path):
        return sa.URL.create("sqlite", database=str(place / FILE))
    try:
        url = sa.make_url(place)
    except (sa.exc.ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise StartError(
            f"store {_without_password(place)!r} is no database URL; like sqlite:///gallery.db or "
            "postgresql://USER@HOST/NAME"
        ) from error
    if "@" in (url.host or ""):
        raise StartError(f"store {_without_password(place)!r}: an @ in a password is written %40 in a URL")
    if url.drivername not in {*_DRIVERS, *_DRIVERS.values()}:
        raise StartError(f"store {shown(url)} is neither sqlite:///PATH nor postgresql://USER@HOST/NAME")
    if url.get_backend_name() == "sqlite" and (url.database or ":memory:") == ":memory:":
        raise StartError(f"store {shown(url)} names no file; like sqlite:///gallery.db")
    return url.set(drivername=_DRIVERS[url.get_backend_name()])


def file_of(url: sa.URL) -> Path | None:
    """The file of an SQLite database, with links resolved; None for PostgreSQL."""
    return Path(url.database or "").resolve() if url.get_backend_name() == "sqlite" else None


def refuse_other_names(file: Path) -> None:
    """Raises StartError where an SQLite file has a second name by a hard link. SQLite's write-ahead log and
    our lock belong to a name, so two processes would write into one file without seeing each other."""
    try:
        facts = file.stat()
    except OSError:  # it is made later, or opening it says why not
        return
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1:  # a folder always has several
        raise StartError(
            f"{file} has {facts.st_nlink} names (hard links), and whoever opens another one would damage the "
            f"gallery; remove the other names, or keep copies instead of links"
        )


def shown(url: sa.URL) -> str:
    """The URL without its passwords, for people to read."""
    hidden = {name: "***" for name in _SECRETS if name in url.query}
    url = url.update_query_dict(hidden).set(drivername=url.drivername.removesuffix("+psycopg"))
    return url.render_as_string(hide_password=True)


def title_of(url: sa.URL) -> str:
    """The gallery as sentences name it: `data folder X` or `store URL`."""
    file = file_of(url)
    if file is not None and file.name == FILE:
        return f"data folder {Path(url.database or '').parent}"
    return f"store {shown(url)}"


def _without_password(text: str) -> str:
    """Text that is no URL, with nothing left of what may be a password in it."""
    text = re.sub(r"^([a-z0-9+]*:/*)?.*@", r"\1***@", text)
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", text)
