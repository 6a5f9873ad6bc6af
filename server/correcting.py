"""Corrections of items: one transaction with its entry in the journal, and then the index.

A camera says which table of its profile an item is embedded with and which centre is subtracted. So an item
whose camera changes is embedded anew from its kept image where the tables differ, before the change is
committed, and stands in the index by the new camera when it is answered.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from server.embedding import Embedding
from server.engines import Engines
from server.errors import BadRequest, Conflict, NotFound, Overloaded
from server.fields import is_id
from server.gallery import changes, embeddings
from server.gallery import tables as t
from server.gallery.changes import LABELS, Cell, Change
from server.gallery.filters import ItemFilter
from server.gallery.journal import Plan, Written
from server.gallery.records import Item, Version
from server.gallery.store import Store
from server.items import require_item
from server.settings import Settings
from server.sites import Site, Sites, SiteState, put_moved

_CHUNK = 64  # crops that are embedded at once
_RETRIES = 5
Labels = Mapping[str, Any]  # new values by the names in LABELS
Beside = Callable[[sa.Connection, Written], None]  # what is kept in the transaction of a correction


@dataclasses.dataclass(frozen=True)
class Corrected:
    """What a correction did.

    Args:
        entry: of the journal; None where everything was already so. items: how many it changed.
    """

    site: str
    entry: int | None
    items: int


class Correcting:
    """The use cases. Raise `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(
        self, settings: Settings, store: Store, sites: Sites, engines: Engines, embedding: Embedding
    ) -> None:
        self.settings, self.store, self.sites = settings, store, sites
        self.engines, self.embedding = engines, embedding

    async def update_item(
        self, item_id: str, labels: Labels, revision: int | None, actor: str, site_name: str | None = None
    ) -> tuple[Item, Corrected]:
        """Gives one item other labels; returns it as it is then.

        Args:
            revision: that the caller has seen; it is a Conflict where the item was changed since.

        Raises NotFound, also for an item of another site than the one that is named.
        """
        item = await asyncio.to_thread(require_item, self.store, item_id, site_name)
        revisions = {item_id: revision} if revision is not None else {}
        corrected = await self.update_items(item.site, [item_id], None, labels, revisions, False, actor)
        return await asyncio.to_thread(require_item, self.store, item_id), corrected

    async def update_items(
        self,
        site_name: str,
        ids: Sequence[str],
        where: ItemFilter | None,
        labels: Labels,
        revisions: Mapping[str, int],
        everything: bool,
        actor: str,
    ) -> Corrected:
        """Gives items of a site other labels: all of them, or none.

        Args:
            ids: of the items, or `where`: those that the filter lets through. everything: a filter that lets
                everything through is meant.
            revisions: that the caller has seen, by id; it is a Conflict where one of them was changed since.
        """
        if not labels:
            raise BadRequest(f"nothing says what to change; send one of {', '.join(LABELS)}")
        chosen = where is not None and not where.is_open
        if bool(ids) + chosen + everything != 1:
            raise BadRequest(
                "send one of items, a filter with a condition, or all, which is every item of the site"
            )
        unknown = sorted(set(revisions) - set(ids))
        if unknown:
            raise BadRequest(f"revisions names {unknown[0][:80]!r}, which is none of the items")
        site = self.sites.get(site_name)

        def plan(db: sa.Connection) -> list[Change]:
            if ids:
                items = items_of(db, site.name, ids)
            else:
                # read by a connection of its own: nobody else writes while the site's lock is held
                seqs = self.store.items.seqs(site.name, where or ItemFilter())
                items = list(changes.items_by_seq(db, seqs.tolist()).values())
            _require_revisions(items, revisions)
            return [
                Change(Cell(name, item.seq), getattr(item, name), labels[name])
                for item in items
                for name in LABELS
                if name in labels
            ]

        return await self.apply(site, actor, "update", plan)

    async def apply(
        self,
        site: Site,
        actor: str,
        action: str,
        plan: Plan,
        undoes: int | None = None,
        beside: Beside | None = None,
    ) -> Corrected:
        """Makes what `plan` says, with its entry in the journal, and brings the index after it.

        Args:
            beside: writes what has to be kept with the correction, or not at all.
        """
        return await asyncio.to_thread(self._apply, site, actor, action, plan, undoes, beside)

    def _apply(
        self,
        site: Site,
        actor: str,
        action: str,
        plan: Plan,
        undoes: int | None,
        beside: Beside | None,
    ) -> Corrected:
        if self.store.journal.drop_old(self.settings.journal_s):
            self.store.purge.after_erasure()
        embedded: dict[tuple[str, int, str | None], np.ndarray] = {}
        for _ in range(_RETRIES):
            try:
                with site.lock:
                    return self._commit(site, actor, action, plan, undoes, beside, embedded)
            except _Unembedded as lacking:
                embedded |= self._embed(lacking)
        raise Overloaded("the site was changed again and again while these items were embedded; try again")

    def _commit(
        self,
        site: Site,
        actor: str,
        action: str,
        plan: Plan,
        undoes: int | None,
        beside: Beside | None,
        embedded: Mapping[tuple[str, int, str | None], np.ndarray],
    ) -> Corrected:
        """One attempt; call it with the site's lock. Raises _Unembedded, with nothing committed, where items
        have to be embedded first."""
        if site.deleted:
            raise Conflict(f"site {site.name!r} was deleted meanwhile")
        with self.store.journal.correct(site.name, actor, action, plan, undoes) as (db, written):
            before = {c.cell.seq: c.before for c in written.changes if c.cell.field == "camera"}
            moved = changes.items_by_seq(db, [seq for seq in before if seq is not None])
            self._embed_moved(db, site, list(moved.values()), before, embedded)
            if beside is not None:
                beside(db, written)
        site.changes += 1
        if moved:
            site.moved.update(moved)
            site.moves += 1  # clusters that are being made of what was compared before come too late
            if site.state.unknown is not None:
                unknown = site.state.unknown.without(sorted(moved))
                site.state = dataclasses.replace(site.state, unknown=unknown)
            put_moved(self.store, site.state, sorted(moved))
        return Corrected(site.name, written.entry, written.items)

    def _embed_moved(
        self,
        db: sa.Connection,
        site: Site,
        items: Sequence[Item],
        before: Mapping[int | None, Any],
        embedded: Mapping[tuple[str, int, str | None], np.ndarray],
    ) -> None:
        """Keeps the embeddings of moved items that their new camera leaves right; the live one is replaced by
        that of `embedded`, others are made again when they are needed."""
        state = site.state
        versions = self._versions(state)
        space = state.version.raw_space_id
        kept: dict[frozenset[str], list[int]] = {}
        lacking: list[Item] = []
        for item in items:
            spaces = self._spaces_kept(versions, before[item.seq], item.camera)
            kept.setdefault(spaces, []).append(item.seq)
            if len(spaces) < len({version.raw_space_id for version in versions}):
                _require_image(db, item)
            if space not in spaces:
                lacking.append(item)
        missing = [item for item in lacking if (space, item.seq, item.camera) not in embedded]
        if missing:
            raise _Unembedded(state, missing)
        for spaces, seqs in kept.items():
            for start in range(0, len(seqs), 500):
                embeddings.drop(db, seqs[start : start + 500], spaces)
        if lacking:
            vectors = np.stack([embedded[space, item.seq, item.camera] for item in lacking])
            embeddings.insert(db, space, [item.seq for item in lacking], vectors)

    def _versions(self, state: SiteState) -> list[Version]:
        """The live version, and the one that a rollback leads to."""
        live = state.version
        parent = self.store.versions.get(live.site, live.parent) if live.parent is not None else None
        return [live] if parent is None else [live, parent]

    def _spaces_kept(self, versions: Sequence[Version], old: str | None, new: str | None) -> frozenset[str]:
        """Raw spaces of versions in which both cameras have the same table."""
        spaces = []
        for version in versions:
            profile = self.engines.profile(version.profile_id)
            if profile.table(old) is profile.table(new):
                spaces.append(version.raw_space_id)
        return frozenset(spaces)

    def _embed(self, lacking: _Unembedded) -> dict[tuple[str, int, str | None], np.ndarray]:
        """float32 [D] of items with their new cameras, by raw space, seq and camera."""
        version = lacking.state.version
        embedded: dict[tuple[str, int, str | None], np.ndarray] = {}
        with self.engines.lease(version.profile_id) as engine:
            for start in range(0, len(lacking.items), _CHUNK):
                items = lacking.items[start : start + _CHUNK]
                images = self.store.items.images([item.seq for item in items])
                items = [item for item in items if item.seq in images]  # without what is erased by now
                if not items:
                    continue
                vectors = self.embedding.embed_stored(engine, images, items).result()
                for item, vector in zip(items, vectors, strict=True):
                    embedded[version.raw_space_id, item.seq, item.camera] = vector
        return embedded


class _Unembedded(Exception):
    """Items, with their new cameras, that have to be embedded before a correction can be committed."""

    def __init__(self, state: SiteState, items: Sequence[Item]) -> None:
        super().__init__(len(items))
        self.state, self.items = state, items


def _require_image(db: sa.Connection, item: Item) -> None:
    """Raises Conflict where the image of an item is not kept, which its new camera needs."""
    if db.execute(sa.select(t.images.c.seq).where(t.images.c.seq == item.seq)).first() is None:
        raise Conflict(
            f"item {item.id!r} cannot be given camera {item.camera!r}: the site's profile has a table of its "
            "own for one of both cameras, and the image of the item is not kept to be embedded anew; enroll "
            "its crop again"
        )


def items_of(db: sa.Connection, site: str, ids: Sequence[str]) -> list[Item]:
    """Items of a site by id. Raises NotFound for the first that is not there."""
    seqs = changes.seqs_of_ids(db, site, [item_id for item_id in ids if is_id(item_id)])
    items = {item.id: item for item in changes.items_by_seq(db, seqs).values()}
    for item_id in ids:
        if item_id not in items:
            raise NotFound(f"there is no item {item_id[:80]!r} at site {site!r}; nothing was changed")
    return [items[item_id] for item_id in dict.fromkeys(ids)]


def _require_revisions(items: Sequence[Item], revisions: Mapping[str, int]) -> None:
    """Raises Conflict for the first item that was changed since the caller has read it."""
    for item in items:
        seen = revisions.get(item.id, item.revision)
        if seen != item.revision:
            raise Conflict(
                f"item {item.id!r} was changed meanwhile: it has revision {item.revision}, and you have seen "
                f"{seen}; read it again",
                item=item.id,
                revision=item.revision,
            )
