"""Read, list and erase gallery items."""

from __future__ import annotations

import asyncio
from typing import Any

from server.errors import BadRequest, NotFound
from server.gallery.records import Item, ItemFilter
from server.gallery.store import Store
from server.sites import Site, Sites


class Items:
    """The use cases. Raise `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(self, store: Store, sites: Sites) -> None:
        self.store, self.sites = store, sites

    async def get(self, item_id: str) -> Item:
        """One item. Raises NotFound."""
        return await asyncio.to_thread(require_item, self.store, item_id)

    async def image(self, item_id: str, actor: str) -> bytes:
        """The uploaded bytes of an item; that somebody looked is noted in the audit log."""
        item = await self.get(item_id)
        data = await asyncio.to_thread(self.store.items.image, item.seq)
        if data is None:
            raise NotFound(f"the image of item {item_id!r} was not kept")
        await asyncio.to_thread(self.store.audit.note, actor, "read-image", item.site, {"item": item_id})
        return data

    async def page(
        self, site_name: str, where: ItemFilter, cursor: str | None, limit: int
    ) -> tuple[list[Item], str | None]:
        """Items in order of enrolling, and the cursor of the next page if there is one."""
        self.sites.get(site_name)
        if not 1 <= limit <= 1000:
            raise BadRequest(f"limit is {limit}; it must lie between 1 and 1000")
        try:
            after = int(cursor or 0)
        except ValueError:
            raise BadRequest(f"cursor {cursor!r} is none that a listing gave") from None
        items = await asyncio.to_thread(self.store.items.page, site_name, where, after, limit)
        return items, str(items[-1].seq) if len(items) == limit else None

    async def erase_item(self, item_id: str, actor: str) -> int:
        """Erases one item: image, embeddings of every version, index. Raises NotFound."""
        item = await self.get(item_id)
        site = self.sites.get(item.site)
        return await asyncio.to_thread(self._erase, site, [item.seq], actor, {"item": item_id})

    async def erase_identity(self, site_name: str, identity: str, actor: str) -> int:
        """Erases every item of an identity. Returns how many there were."""
        site = self.sites.get(site_name)
        return await asyncio.to_thread(self._erase_where, site, ItemFilter(identity=identity), actor)

    def _erase_where(self, site: Site, where: ItemFilter, actor: str) -> int:
        with site.lock:
            seqs = [int(s) for s in self.store.items.seqs(site.name, where)]
            return self._erase(site, seqs, actor, {"by": "identity"}) if seqs else 0

    def _erase(self, site: Site, seqs: list[int], actor: str, reason: dict[str, Any]) -> int:
        with site.lock:
            count = self.store.items.erase(seqs, actor, site.name, reason)
            site.state.index.remove(seqs)
            return count


def require_item(store: Store, item_id: str, site: str | None = None) -> Item:
    """An item, at a site where one is named. Raises NotFound."""
    item = store.items.get(item_id)
    if item is None or (site is not None and item.site != site):
        raise NotFound(f"there is no item {item_id!r}" + (f" at site {site!r}" if site else ""))
    return item
