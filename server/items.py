"""Read, list and erase gallery items."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np

from server.errors import BadRequest, NotFound
from server.fields import is_id
from server.gallery.filters import ItemFilter
from server.gallery.records import Erased, Item
from server.gallery.store import Store
from server.settings import Settings
from server.sites import Site, Sites

# Numbers in the vectors of one page: 2.8 MB over gRPC, of which most clients read no message beyond 4 MiB.
MOST_NUMBERS = 700_000
_CURSOR = re.compile(r"\d{1,18}", re.ASCII)  # a seq, which is an integer of 64 bits


@dataclasses.dataclass(frozen=True)
class Page:
    """Items in order of enrolling.

    Args:
        cursor: of the next page; None on the last.
        vectors: float32 [D] of each item in a raw space, as embedded and in the half precision that is
            stored; None for an item that has none. Both are None where they were not asked for.
    """

    items: list[Item]
    cursor: str | None
    raw_space_id: str | None = None
    vectors: list[np.ndarray | None] | None = None


class Items:
    """The use cases. Raise `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(self, settings: Settings, store: Store, sites: Sites) -> None:
        self.settings, self.store, self.sites = settings, store, sites

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
        self,
        site_name: str,
        where: ItemFilter,
        cursor: str | None,
        limit: int,
        without_metadata: bool = False,
        with_vectors: bool = False,
        actor: str = "",
    ) -> Page:
        """Items in order of enrolling.

        Args:
            without_metadata: with empty metadata.
            with_vectors: with their vectors in the live raw space. A page then ends before `limit` where it
                would be longer than MOST_NUMBERS, and the audit log notes who read vectors of how many items.
        """
        site = self.sites.get(site_name)
        if not 1 <= limit <= 1000:
            raise BadRequest(f"limit is {limit}; it must lie between 1 and 1000")
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise BadRequest(f"cursor {cursor[:80]!r} was not returned by a listing")
        after = int(cursor or 0)
        if with_vectors:
            limit = min(limit, max(1, MOST_NUMBERS // site.state.version.dim))
        items = await asyncio.to_thread(self.store.items.page, site_name, where, after, limit + 1)
        following = str(items[limit - 1].seq) if len(items) > limit else None
        items = items[:limit]
        if without_metadata:
            items = [item.without_metadata() for item in items]
        if not with_vectors:
            return Page(items, following)
        raw_space_id, vectors = await asyncio.to_thread(self._vectors, site, items)
        await asyncio.to_thread(
            self.store.audit.note, actor, "read-vectors", site_name, {"items": len(items)}
        )
        return Page(items, following, raw_space_id, vectors)

    def _vectors(self, site: Site, items: Sequence[Item]) -> tuple[str, list[np.ndarray | None]]:
        """The live raw space, and float32 [D] of each item in it; None for an item without one."""
        seqs = [item.seq for item in items]
        while True:
            space = site.state.version.raw_space_id
            found = self.store.embeddings.some(seqs, space)
            if len(found) == len(seqs) or site.state.version.raw_space_id == space:
                break  # otherwise the site was swapped, and nobody needs the space before any more
        stored = {seq: np.frombuffer(data, "<f2").astype(np.float32) for seq, data in found.items()}
        return space, [stored.get(seq) for seq in seqs]

    async def erase_item(self, item_id: str, actor: str, site_name: str | None = None) -> Erased:
        """Erases one item: image, embeddings of every version, index.

        Raises NotFound, also for an item of another site than the one that is named.
        """
        item = await asyncio.to_thread(require_item, self.store, item_id, site_name)
        site = self.sites.get(item.site)
        return await asyncio.to_thread(self._erase, site, lambda: [item.seq], actor, "item")

    async def erase_where(
        self, site_name: str, where: ItemFilter, actor: str, everything: bool = False
    ) -> Erased:
        """Erases every item of a site that the filter lets through.

        Args:
            everything: the whole site is meant, and nothing is filtered. Without it, a filter that lets
                everything through is refused.
        """
        if everything and not where.is_open:
            raise BadRequest(
                "all erases the whole site, which contradicts every condition; send one or the other"
            )
        if where.is_open and not everything:
            raise BadRequest(
                "nothing says what to erase: send identity or another condition; all=true erases every item "
                "of the site"
            )
        site = self.sites.get(site_name)
        by = sorted({name for name, _ in where.columns} | {"metadata" for _ in where.metadata}) or ["all"]
        return await asyncio.to_thread(
            self._erase,
            site,
            lambda: self.store.items.seqs(site.name, where).tolist(),
            actor,
            ", ".join(by),
        )

    def _erase(self, site: Site, choose: Callable[[], Sequence[int]], actor: str, by: str) -> Erased:
        """Erases what `choose` returns under the site's lock. Nobody waits for the purge."""
        if self.store.requests.drop_spent(self.settings.spent_key_s):
            self.store.purge.after_erasure()  # here, because there may be nothing else to erase
        with site.lock:
            seqs = [int(seq) for seq in choose()]
            if not seqs:
                return Erased(0, self.store.purge.purged)
            count = self.store.items.erase(seqs, actor, site.name, by)
            site.state.index.remove(seqs)
            site.changes += 1
        return Erased(count, self.store.purge.after_erasure(), self.sites.indexes.keeps_until())


def require_item(store: Store, item_id: str, site: str | None = None) -> Item:
    """An item, at a site where one is named. Raises NotFound, and BadRequest for an empty id."""
    if not item_id:
        raise BadRequest("item_id is empty; name the item")
    item = store.items.get(item_id) if is_id(item_id) else None
    if item is None or (site is not None and item.site != site):
        raise NotFound(f"there is no item {item_id[:80]!r}" + (f" at site {site!r}" if site else ""))
    return item
