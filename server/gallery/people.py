"""People of a site by name: who there is, whom queries leave out, and what another name changes."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa

from server.errors import Conflict, NotFound
from server.gallery import changes
from server.gallery import tables as t
from server.gallery.changes import Cell, Change, pair
from server.gallery.database import Database
from server.gallery.records import Item
from server.gallery.rows import EARLIEST, LATEST


@dataclasses.dataclass(frozen=True)
class Named:
    """A person with items at a site.

    Args:
        first_seen, last_seen: times of the items, seconds since 1970; None where no item has one.
        feature: id of the item whose picture stands for the person: the chosen one, or the newest.
    """

    identity: str
    items: int
    cameras: list[str]
    first_seen: float | None
    last_seen: float | None
    hidden: bool
    feature: str


@dataclasses.dataclass(frozen=True)
class Said:
    """What was said of a site's people beside the names of items.

    Args:
        hidden: people who are no match. denied: names that an item does not show, by seq.
        different: pairs of names that are different people, the lesser name first.
    """

    hidden: frozenset[str]
    denied: dict[int, frozenset[str]]
    different: frozenset[tuple[str, str]]


class PeopleRows:
    """What the store knows of people."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def page(
        self, site: str, after: str | None, limit: int, identity: str | None, include_hidden: bool
    ) -> list[Named]:
        """People of a site by name, in the order of code points.

        Args:
            after: only names behind this one. identity: this person alone.
        """
        columns, known = t.items.c, t.people.c
        name = sa.collate(columns.identity, "BINARY" if self.database.is_sqlite else "C")
        seen = sa.case((columns.captured_at.between(EARLIEST, LATEST), columns.captured_at))
        feature = sa.func.coalesce(known.feature, sa.func.max(columns.seq))
        query = (
            sa.select(
                columns.identity,
                sa.func.count().label("number"),
                sa.func.min(seen).label("first"),
                sa.func.max(seen).label("last"),
                sa.func.coalesce(known.hidden, sa.false()).label("hidden"),
                feature.label("feature"),
            )
            .outerjoin(t.people, sa.and_(known.site == columns.site, known.identity == columns.identity))
            .where(columns.site == site, columns.identity.is_not(None))
            .group_by(columns.identity, known.hidden, known.feature)
            .order_by(name)
            .limit(limit)
        )
        if after is not None:
            query = query.where(name > after)
        if identity is not None:
            query = query.where(columns.identity == identity)
        if not include_hidden:
            query = query.where(sa.func.coalesce(known.hidden, sa.false()).is_(sa.false()))
        with self.database.read() as db:
            rows = db.execute(query).all()
            cameras = _cameras(db, site, [row.identity for row in rows])
            items = changes.items_by_seq(db, [row.feature for row in rows])
        people = []
        for row in rows:
            picture = items[row.feature].id if row.feature in items else ""
            seen_at = (cameras[row.identity], row.first, row.last)
            people.append(Named(row.identity, row.number, *seen_at, bool(row.hidden), picture))
        return people

    def left_out(self, site: str, query_item: Item | None, include_hidden: bool) -> np.ndarray:
        """int64 seqs, ascending, of the items that are no match of a query: those of hidden people and, where
        an enrolled item is the query, those that are said not to show the same person."""
        seqs: list[sa.Select[tuple[int]]] = []
        if not include_hidden:
            # by the few hidden names: a join with every item of a large site takes longer than the search
            hidden = sa.select(t.people.c.identity).where(t.people.c.site == site, t.people.c.hidden)
            of_hidden = sa.and_(t.items.c.site == site, t.items.c.identity.in_(hidden))
            seqs.append(sa.select(t.items.c.seq).where(of_hidden))
        if query_item is not None:
            seqs += _denied(site, query_item)
        with self.database.read() as db:
            left = {seq for query in seqs for seq in db.execute(query).scalars()}
        return np.array(sorted(left), np.int64)

    def said(self, site: str) -> Said:
        """What was said of a site's people."""
        hidden = sa.select(t.people.c.identity).where(t.people.c.site == site, t.people.c.hidden)
        of_site = sa.and_(t.items.c.seq == t.denials.c.seq, t.items.c.site == site)
        denials = sa.select(t.denials.c.seq, t.denials.c.identity).join(t.items, of_site)
        pairs = sa.select(t.differences.c.identity, t.differences.c.other)
        denied: dict[int, set[str]] = defaultdict(set)
        with self.database.read() as db:
            for seq, name in db.execute(denials):
                denied[seq].add(name)
            different = db.execute(pairs.where(t.differences.c.site == site)).all()
            names = frozenset(db.execute(hidden).scalars())
        by_seq = {seq: frozenset(names) for seq, names in denied.items()}
        return Said(names, by_seq, frozenset((one, other) for one, other in different))

    def sample(self, site: str, identity: str, most: int) -> list[int]:
        """Seqs of some items of a person: all, or that many at equal distances in the order of enrolling."""
        with self.database.read() as db:
            seqs = seqs_of(db, site, identity)
        if len(seqs) <= most:
            return seqs
        return [seqs[row] for row in np.linspace(0, len(seqs) - 1, most).astype(int)]


def seqs_of(db: sa.Connection, site: str, identity: str) -> list[int]:
    """Seqs of a person's items, ascending."""
    columns = t.items.c
    query = sa.select(columns.seq).where(columns.site == site, columns.identity == identity)
    return list(db.execute(query.order_by(columns.seq)).scalars())


def require_person(db: sa.Connection, site: str, identity: str) -> list[int]:
    """Seqs of a person's items. Raises NotFound where the site has nobody of this name."""
    seqs = seqs_of(db, site, identity)
    if not seqs:
        raise NotFound(f"site {site!r} has nobody called {identity!r}")
    return seqs


def give_name(db: sa.Connection, site: str, identity: str, to: str) -> list[Change]:
    """What it changes that a person is called otherwise, with a new name or with another person's: the items,
    and what was said of the name.

    Raises NotFound where there is no such person, Conflict where both are said to be different people.
    """
    seqs = require_person(db, site, identity)
    joined = [Change(Cell("identity", seq), identity, to) for seq in seqs]
    merges = bool(seqs_of(db, site, to))
    return joined + _settings(db, site, identity, to, merges) + _said(db, site, identity, to)


def _settings(db: sa.Connection, site: str, identity: str, to: str, merges: bool) -> list[Change]:
    """Hidden and feature picture go to the new name; a person who is there keeps its own."""
    old = [Cell("hidden", name=identity), Cell("feature", name=identity)]
    new = [Cell("hidden", name=to), Cell("feature", name=to)]
    values = changes.read(db, site, [*old, *new])
    moved = [Change(old[0], values[old[0]], False), Change(old[1], values[old[1]], None)]
    if not merges:
        moved.append(Change(new[0], values[new[0]], values[old[0]]))
    if not merges or values[new[1]] is None:
        moved.append(Change(new[1], values[new[1]], values[old[1]]))
    return moved


def _said(db: sa.Connection, site: str, identity: str, to: str) -> list[Change]:
    """What was said not to be this person is not the person of the new name."""
    of_site = sa.and_(t.items.c.seq == t.denials.c.seq, t.items.c.site == site)
    denied = sa.select(t.denials.c.seq, t.denials.c.identity).join(t.items, of_site)
    names: dict[str, set[int]] = defaultdict(set)
    for seq, name in db.execute(denied.where(t.denials.c.identity.in_([identity, to]))):
        names[name].add(seq)
    said = [Change(Cell("not_person", seq, identity), True, False) for seq in sorted(names[identity])]
    said += [Change(Cell("not_person", seq, to), False, True) for seq in sorted(names[identity] - names[to])]
    for other in different_from(db, site, identity):
        if other == to:
            raise Conflict(
                f"{identity!r} and {to!r} were said to be different people; take that back before you merge "
                "them"
            )
        said.append(Change(pair(identity, other), True, False))
        cell = pair(to, other)
        said.append(Change(cell, changes.read(db, site, [cell])[cell], True))
    return said


def different_from(db: sa.Connection, site: str, identity: str) -> list[str]:
    """Names that are said to be other people than this one."""
    columns = t.differences.c
    of_site = sa.select(columns.identity, columns.other).where(columns.site == site)
    pairs = db.execute(of_site.where(sa.or_(columns.identity == identity, columns.other == identity)))
    return sorted(other if name == identity else name for name, other in pairs)


def _denied(site: str, item: Item) -> list[sa.Select[tuple[int]]]:
    """Items that a query by this one must not find: those of people whom it does not show, and those that do
    not show its own person."""
    columns, pairs = t.items.c, t.differences.c
    not_shown = sa.select(t.denials.c.identity).where(t.denials.c.seq == item.seq)
    queries = [sa.select(columns.seq).where(columns.site == site, columns.identity.in_(not_shown))]
    if item.identity is not None:
        of_site = sa.and_(columns.seq == t.denials.c.seq, columns.site == site)
        others = sa.select(columns.seq).join(t.denials, of_site)
        queries.append(others.where(t.denials.c.identity == item.identity))
        for one, other in ((pairs.identity, pairs.other), (pairs.other, pairs.identity)):
            names = sa.select(other).where(pairs.site == site, one == item.identity)
            queries.append(sa.select(columns.seq).where(columns.site == site, columns.identity.in_(names)))
    return queries


def _cameras(db: sa.Connection, site: str, names: Sequence[str]) -> dict[str, list[str]]:
    columns = t.items.c
    query = sa.select(columns.identity, columns.camera).distinct()
    query = query.where(columns.site == site, columns.identity.in_(names), columns.camera.is_not(None))
    cameras: dict[str, list[str]] = defaultdict(list)
    for name, camera in db.execute(query):
        cameras[name].append(camera)
    return defaultdict(list, {name: sorted(each) for name, each in cameras.items()})
