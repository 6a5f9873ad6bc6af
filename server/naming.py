"""People of a site by name: who there is; rename, merge, split, hide, choose a picture, "not this person"."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import sqlalchemy as sa

from server.correcting import Corrected, Correcting, items_of
from server.errors import BadRequest, Conflict
from server.fields import label_of
from server.gallery import changes, people
from server.gallery.changes import Cell, Change, pair
from server.gallery.index import SCORE_DIGITS
from server.gallery.journal import Plan
from server.gallery.people import Named
from server.gallery.store import Store
from server.sites import Site, Sites

_MOST_COMPARED = 256  # items of a person, when two people are compared
_MOST_LISTED = 1000  # people of one page


@dataclasses.dataclass(frozen=True)
class Alike:
    """How alike two people are in the live space.

    Args:
        best: the cosine of the two items that are most alike. mean: of the mean embeddings.
    """

    best: float
    mean: float


@dataclasses.dataclass(frozen=True)
class Merged:
    """What a merge did, and how alike both people were; None where one has no embedding."""

    corrected: Corrected
    alike: Alike | None


class Naming:
    """The use cases. Raise `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(self, store: Store, sites: Sites, correcting: Correcting) -> None:
        self.store, self.sites, self.correcting = store, sites, correcting

    async def page(
        self,
        site_name: str,
        cursor: str | None,
        limit: int,
        identity: str | None = None,
        include_hidden: bool = False,
    ) -> tuple[list[Named], str | None]:
        """People of a site by name, and the cursor of the next page where there are more.

        Args:
            identity: this person alone.
        """
        self.sites.get(site_name)
        if not 1 <= limit <= _MOST_LISTED:
            raise BadRequest(f"limit is {limit}; it must lie between 1 and {_MOST_LISTED}")
        after = label_of(cursor, "cursor")
        page = await asyncio.to_thread(
            self.store.people.page, site_name, after, limit + 1, identity, include_hidden
        )
        return (page, None) if len(page) <= limit else (page[:limit], page[limit - 1].identity)

    async def rename(self, site_name: str, identity: str | None, to: str | None, actor: str) -> Corrected:
        """Gives a person a name that nobody has. Raises Conflict where somebody has it, with how alike both
        are: two people become one by a merge alone."""
        site = self.sites.get(site_name)
        name, new = _two(identity, to, "to")
        alike = await asyncio.to_thread(self._alike, site, name, new)

        def plan(db: sa.Connection) -> list[Change]:
            people.require_person(db, site.name, name)
            present = len(people.seqs_of(db, site.name, new))
            if present:
                facts = {"items": present} | (dataclasses.asdict(alike) if alike is not None else {})
                raise Conflict(
                    f"{new!r} is a person with {present} item(s) at site {site.name!r} already"
                    f"{_sentence(alike)}; merge them if they are the same person",
                    **facts,
                )
            return people.give_name(db, site.name, name, new)

        return await self.correcting.apply(site, actor, "rename", plan)

    async def merge(self, site_name: str, identity: str | None, into: str | None, actor: str) -> Merged:
        """Gives the items of a person to another one, and says how alike both were.

        Raises NotFound where either is not there, Conflict where they were said to be different people.
        """
        site = self.sites.get(site_name)
        name, other = _two(identity, into, "into")
        alike = await asyncio.to_thread(self._alike, site, name, other)

        def plan(db: sa.Connection) -> list[Change]:
            people.require_person(db, site.name, other)
            return people.give_name(db, site.name, name, other)

        return Merged(await self.correcting.apply(site, actor, "merge", plan), alike)

    async def split(
        self, site_name: str, identity: str | None, ids: Sequence[str], to: str | None, actor: str
    ) -> Corrected:
        """Gives some items of a person a name that nobody has: all of them, or none.

        Raises Conflict where an item is not this person's any more, and where somebody has the name.
        """
        site = self.sites.get(site_name)
        name, new = _two(identity, to, "to")
        if not ids:
            raise BadRequest("items is empty; name the items that show another person")

        def plan(db: sa.Connection) -> list[Change]:
            items = items_of(db, site.name, ids)
            for item in items:
                if item.identity != name:
                    raise Conflict(
                        f"item {item.id!r} is not {name!r} but {item.identity or 'nobody'!r} by now; nothing "
                        "was changed"
                    )
            if people.seqs_of(db, site.name, new):
                raise Conflict(f"{new!r} is somebody at site {site.name!r} already; split to a new name")
            return [Change(Cell("identity", item.seq), name, new) for item in items]

        return await self.correcting.apply(site, actor, "split", plan)

    async def hide(self, site_name: str, identity: str | None, hidden: bool, actor: str) -> Corrected:
        """Leaves a person out of the answers of queries, or shows the person again."""
        site, name = self.sites.get(site_name), _name(identity, "identity")
        plan = _one(site, name, lambda db: [(Cell("hidden", name=name), hidden)])
        return await self.correcting.apply(site, actor, "hide" if hidden else "show", plan)

    async def feature(
        self, site_name: str, identity: str | None, item_id: str | None, actor: str
    ) -> Corrected:
        """Chooses the item whose picture stands for a person; None: the newest one does."""
        site, name = self.sites.get(site_name), _name(identity, "identity")

        def chosen(db: sa.Connection) -> list[tuple[Cell, object]]:
            if item_id is None:
                return [(Cell("feature", name=name), None)]
            (item,) = items_of(db, site.name, [item_id])
            if item.identity != name:
                raise Conflict(f"item {item.id!r} does not show {name!r}; choose one of that person's")
            return [(Cell("feature", name=name), item.seq)]

        return await self.correcting.apply(site, actor, "feature", _one(site, name, chosen))

    async def different(
        self,
        site_name: str,
        identity: str | None,
        item_id: str | None,
        other: str | None,
        different: bool,
        actor: str,
    ) -> Corrected:
        """Remembers that an item does not show a person, or that two people are different; or takes that
        back.

        An item that bears the name loses it. It cannot get it again, is not found by queries with an item of
        that person, and does not find that person's items when it is the query. The same holds between items
        of two people, who cannot be merged.
        """
        site, name = self.sites.get(site_name), _name(identity, "identity")
        if (item_id is None) == (other is None):
            raise BadRequest("send either item or other: an item or a person that is not this one")

        def said(db: sa.Connection) -> list[tuple[Cell, object]]:
            if other is not None:
                name_of_other = _name(other, "other")
                if name_of_other == name:
                    raise BadRequest(f"both names are {name!r} (identity and other); name two people")
                if different:
                    people.require_person(db, site.name, name_of_other)
                return [(pair(name, name_of_other), different)]
            (item,) = items_of(db, site.name, [item_id or ""])
            cells: list[tuple[Cell, object]] = [(Cell("not_person", item.seq, name), different)]
            if different and item.identity == name:
                cells.append((Cell("identity", item.seq), None))
            return cells

        action = "different" if different else "not-different"
        plan = _one(site, name, said, must_exist=different)
        return await self.correcting.apply(site, actor, action, plan)

    def _alike(self, site: Site, one: str, other: str) -> Alike | None:
        """How alike two people are; None where one of them has no embedding."""
        state = site.state
        compared = []
        for name in (one, other):
            seqs = self.store.people.sample(site.name, name, _MOST_COMPARED)
            items = self.store.items.by_seq(seqs)
            left = [seq for seq in seqs if seq in items]
            rows, vectors = self.store.embeddings.vectors(left, state.version.raw_space_id)
            if not rows:
                return None
            compared.append(state.compare(vectors, [items[left[row]].camera for row in rows]))
        means = [vectors.mean(axis=0) for vectors in compared]
        norms = float(np.linalg.norm(means[0]) * np.linalg.norm(means[1]))
        mean = float(means[0] @ means[1]) / norms if norms else 0.0
        return Alike(_cosine(float((compared[0] @ compared[1].T).max())), _cosine(mean))


def _cosine(value: float) -> float:
    """As scores are shown."""
    return round(min(1.0, max(-1.0, value)), SCORE_DIGITS)


def _sentence(alike: Alike | None) -> str:
    return (
        ""
        if alike is None
        else f" (cosine of the means {alike.mean:.2f}, of the best items {alike.best:.2f})"
    )


def _name(name: str | None, field: str) -> str:
    """A name. Raises BadRequest for an empty one."""
    if not name:
        raise BadRequest(f"a name is empty ({field}); name a person")
    return name


def _two(identity: str | None, other: str | None, field: str) -> tuple[str, str]:
    """Two different names. Raises BadRequest."""
    one, two = _name(identity, "identity"), _name(other, field)
    if one == two:
        raise BadRequest(f"both names are {one!r} (identity and {field}), so nothing would change; name two")
    return one, two


def _one(
    site: Site,
    name: str,
    cells: Callable[[sa.Connection], Sequence[tuple[Cell, object]]],
    must_exist: bool = True,
) -> Plan:
    """A plan that gives cells of one person new values."""

    def plan(db: sa.Connection) -> list[Change]:
        if must_exist:
            people.require_person(db, site.name, name)
        wanted = cells(db)
        values = changes.read(db, site.name, [cell for cell, _ in wanted])
        return [Change(cell, values[cell], after) for cell, after in wanted]

    return plan
