"""The journal of a site's corrections, and their undoing."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

from server.correcting import Corrected, Correcting
from server.errors import BadRequest, NotFound
from server.fields import iso
from server.gallery import journal
from server.gallery.changes import Change
from server.gallery.journal import Entry
from server.gallery.store import Store
from server.items import require_item
from server.settings import Settings
from server.sites import Sites

_SHOWN = 20  # changes of an entry in a listing
_ALL_SHOWN = 10_000  # of one that is read alone
_MOST_LISTED = 1000  # entries of one page


@dataclasses.dataclass(frozen=True)
class ShownChange:
    """A change as callers see it: times as text, items by id.

    Args:
        item: id of the item whose value it is; None where it is a person's. identity: the person, or the one
            whom the item does not show. other: the second one of two different people.
    """

    field: str
    item: str | None
    identity: str | None
    other: str | None
    before: Any
    after: Any


def shown(entry: Entry) -> list[ShownChange]:
    """The changes of an entry as callers see them."""
    return [
        ShownChange(
            change.cell.field,
            entry.ids.get(change.cell.seq) if change.cell.seq is not None else None,
            change.cell.name or None,
            change.cell.other or None,
            _value(change, change.before, entry.ids),
            _value(change, change.after, entry.ids),
        )
        for change in entry.changes
    ]


class Journal:
    """The use cases. Raise `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(self, settings: Settings, store: Store, sites: Sites, correcting: Correcting) -> None:
        self.settings, self.store, self.sites, self.correcting = settings, store, sites, correcting

    async def entry(self, entry: int) -> Entry:
        """An entry with its changes. Raises NotFound."""
        known = None
        if 0 < entry < 2**63:
            known = await asyncio.to_thread(self.store.journal.get, entry, _ALL_SHOWN)
        if known is None:
            raise NotFound(f"there is no journal entry {entry}; entries are kept for a time and then deleted")
        return known

    async def page(
        self, site_name: str, item_id: str | None, cursor: str | None, limit: int
    ) -> tuple[list[Entry], str | None]:
        """Entries of a site, the newest first, and the cursor of the next page where there are more.

        Args:
            item_id: only entries that changed this item.
        """
        self.sites.get(site_name)
        if not 1 <= limit <= _MOST_LISTED:
            raise BadRequest(f"limit is {limit}; it must lie between 1 and {_MOST_LISTED}")
        before = int(cursor) if cursor is not None and cursor.isdecimal() and len(cursor) < 19 else None
        if cursor is not None and before is None:
            raise BadRequest(f"cursor {cursor[:80]!r} was not returned by a listing")
        seq = None
        if item_id is not None:
            seq = (await asyncio.to_thread(require_item, self.store, item_id, site_name)).seq
        page = await asyncio.to_thread(self.store.journal.page, site_name, seq, before, limit + 1, _SHOWN)
        return (page, None) if len(page) <= limit else (page[:limit], str(page[limit - 1].entry))

    async def undo(self, entry: int, actor: str) -> Corrected:
        """Undoes a correction. Raises NotFound, and Conflict where another entry has to be undone first."""
        site = self.sites.get((await self.entry(entry)).site)
        oldest = time.time() - self.settings.journal_s
        return await self.correcting.apply(
            site, actor, "undo", lambda db: journal.undo(db, entry, oldest), entry
        )


def _value(change: Change, value: Any, ids: dict[int, str]) -> Any:
    if value is None:
        return None
    if change.cell.field == "captured_at":
        return iso(value)
    return ids.get(value) if change.cell.field == "feature" else value
