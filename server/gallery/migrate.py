"""Brings a database to the newest schema with Alembic, by the steps in `migrations/versions`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from server.errors import StartError
from server.gallery.database import Database

FIRST = "0001"  # the schema that Resight had before it used Alembic
_FOLDER = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Upgrades the database in one transaction; creates every table where it is empty.

    Raises StartError for a database of a newer Resight.
    """
    config = _config()
    newest = ScriptDirectory.from_config(config).get_current_head()
    with database.write() as db:
        present = _revision(db)
        if present == newest:
            return
        config.attributes["connection"] = db
        try:
            if present is None and sa.inspect(db).has_table("meta"):
                _require_schema_1(db)
                command.stamp(config, FIRST)
            command.upgrade(config, "head")
        except CommandError as error:
            raise StartError(
                f"the gallery was made by a newer Resight (revision {present}); update Resight"
            ) from error


def is_newest(database: Database) -> bool:
    """Whether an existing gallery has the newest schema. Raises StartError where there is no gallery."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    file = database.file
    if file is None or (file.is_file() and file.stat().st_size):
        with database.read() as db:
            present = _revision(db)
            if present is not None or sa.inspect(db).has_table("meta"):
                return present == newest
    raise StartError(
        f"there is no gallery in {database.title}; name the one of your server with --data or --store, or "
        "make one with: resight serve"
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _revision(db: sa.Connection) -> str | None:
    if not sa.inspect(db).has_table("alembic_version"):
        return None
    return db.scalar(sa.text("SELECT version_num FROM alembic_version"))


def _require_schema_1(db: sa.Connection) -> None:
    schema = db.scalar(sa.text("SELECT value FROM meta WHERE key = 'schema'"))
    if schema != "1":
        raise StartError(
            f"the gallery has schema {schema}, this Resight reads 1 and newer revisions; update Resight"
        )
