"""Read, list and erase gallery items."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from server.errors import BadRequest, NotFound
from server.gallery.records import Erased, Item, ItemFilter
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
        await asyncio.to_thread(self.store.audit.note, actor, "read-image", item.site, {}, item_id)
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

    async def erase_item(self, item_id: str, actor: str) -> Erased:
        """Erases one item: image, embeddings of every version, index. Raises NotFound."""
        item = await self.get(item_id)
        site = self.sites.get(item.site)
        return await asyncio.to_thread(self._erase, site, lambda: [item.seq], actor, "item")

    async def erase_identity(self, site_name: str, identity: str, actor: str) -> Erased:
        """Erases every item of an identity."""
        site = self.sites.get(site_name)
        where = ItemFilter(identity=identity)
        return await asyncio.to_thread(
            self._erase, site, lambda: self.store.items.seqs(site.name, where).tolist(), actor, "identity"
        )

    def _erase(self, site: Site, choose: Callable[[], Sequence[int]], actor: str, by: str) -> Erased:
        """Erases what `choose` returns under the site's lock. Nobody waits for the purge."""
        with site.lock:
            seqs = [int(seq) for seq in choose()]
            if not seqs:
                return Erased(0, self.store.purge.purged)
            count = self.store.items.erase(seqs, actor, site.name, by)
            site.state.index.remove(seqs)
        return Erased(count, self.store.purge.after_erasure())


def require_item(store: Store, item_id: str, site: str | None = None) -> Item:
    """An item, at a site where one is named. Raises NotFound."""
    item = store.items.get(item_id)
    if item is None or (site is not None and item.site != site):
        raise NotFound(f"there is no item {item_id!r}" + (f" at site {site!r}" if site else ""))
    return item
