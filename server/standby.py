"""A standby: a server that waits while another one has the gallery, and starts when that one has ended.

It asks for the gallery's lock again and again, which ends with the process that holds it, and listens on no
port meanwhile. `server.gallery.owner` says why an earlier server writes nothing any more once it has it.
"""

from __future__ import annotations

import logging
import signal
import sys
import time

import sqlalchemy as sa

from reid.bundle import Bundle
from server.errors import GalleryInUse, StartError, StoreAway, StoreUnavailable
from server.gallery.address import address_of, file_of
from server.gallery.database import Database
from server.gallery.store import Store
from server.gallery.versions import VersionRows
from server.settings import Settings

log = logging.getLogger("resight")
_EVERY_S = 0.5


def open_when_free(settings: Settings, bundle: Bundle) -> Store:
    """The store, as soon as no other process has it.

    Raises StartError where it cannot be opened for another reason; but a database that stops answering later,
    while this one waits, is waited for too. Also raises it, before it waits, where the gallery is of another
    model: taking over would end the server that serves it, and then this one could not.
    """
    said = ""
    waited = False
    file: tuple[int, int] | None = None  # which SQLite file it waits for
    while True:
        if waited and file != _file_of(settings):
            raise StartError(
                f"the gallery that this standby waited for is gone from {settings.place}; mount or restore "
                "it, and start the standby again"
            )
        try:
            store = Store(settings.place, settings.data)
        except (GalleryInUse, StoreAway) as error:
            if isinstance(error, StoreAway) and not waited:
                raise
            reason = _reason(error)
            if reason != said:
                log.warning("standby: %s; waiting until the gallery is free", reason)
            if not waited:
                _require_model(settings, bundle)
                file = _file_of(settings)
            said, waited = reason, True
            time.sleep(_EVERY_S)
            continue
        if waited:
            log.warning("standby: the gallery is free, taking over")
        return store


def _require_model(settings: Settings, bundle: Bundle) -> None:
    """Raises StartError where a live version of the gallery that another server has is of another model.
    A gallery that cannot be read as it is, like one that waits for a newer schema, is looked at later."""
    if settings.reembed:
        return
    database = Database(settings.place)
    versions = VersionRows(database)
    try:
        for live in versions.live():
            profile = versions.profile(live.profile_id)
            # a model's own profile is known by its id, whether it is kept or not
            base = profile.base if profile is not None else None
            if base != bundle.base_id and live.profile_id != bundle.profile().id:
                raise StartError(
                    f"site {live.site!r} of {database.title} was enrolled with another model than "
                    f"{settings.bundle}, so this standby could not serve it; give it the bundle of the "
                    "server that it waits for"
                )
    except (StoreUnavailable, sa.exc.SQLAlchemyError):
        return
    finally:
        database.close()


def _file_of(settings: Settings) -> tuple[int, int] | None:
    """Device and number of the SQLite file; None where there is none, as with PostgreSQL."""
    file = file_of(address_of(settings.place))
    try:
        facts = file.stat() if file is not None else None
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino) if facts is not None else None


def end_by_signal() -> None:
    """From now on SIGTERM and SIGINT end the process with status 0, as they end a server that serves. Without
    it the first process of a container would not end by SIGTERM at all."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))


def _reason(error: StartError) -> str:
    """What is in the way, without what a server that does not wait would be told to do."""
    return str(error).split("; stop that server first")[0]
