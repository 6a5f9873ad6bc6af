"""The journal of corrections: who changed what when, and how each is undone.

An undo is an entry like any other, so it can be undone too. An entry that is undone does not stand in the way
of undoing what was before it.

Erasing takes what entries say of the erased items, and names that nobody bears any more.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from server.errors import Conflict, NotFound
from server.gallery import audit, changes, renames
from server.gallery import tables as t
from server.gallery.changes import Cell, Change
from server.gallery.database import Database

Plan = Callable[[sa.Connection], list[Change]]
_DROP_EVERY_S = 3_600.0
_LATEST = 9_223_372_036_854_775_807  # an entry behind all others


@dataclasses.dataclass(frozen=True)
class Entry:
    """A correction.

    Args:
        items: how many it changed, with those that are erased by now. undoes: the entry that it undid.
        undone_by: the entry that undid it, unless that was undone in its turn.
        changes: what it changed, or the first of that; ids: of the items in there, by seq.
    """

    entry: int
    site: str
    at: float
    actor: str
    action: str
    items: int
    undoes: int | None
    undone_by: int | None
    changes: list[Change] = dataclasses.field(default_factory=list)
    ids: dict[int, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Written:
    """A correction that was committed; without an entry where everything was already so."""

    entry: int | None
    items: int
    changes: list[Change]


class JournalRows:
    """Corrections and their undoing."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.dropped_at = -_DROP_EVERY_S  # of `time.monotonic`

    @contextmanager
    def correct(
        self, site: str, actor: str, action: str, plan: Plan, undoes: int | None = None
    ) -> Iterator[tuple[sa.Connection, Written]]:
        """Makes the changes that `plan` returns, with their entry, in one transaction that ends with the
        block; what is raised there or by `plan` takes all of it back.

        Args:
            plan: reads the database and says what is to be changed.
            undoes: the entry that this one undoes.

        Raises Conflict where an item would get the name of somebody whom it is said not to show.
        """
        with self.database.write() as db:
            planned = [change for change in plan(db) if change.before != change.after]
            planned += _lost_features(db, site, planned)
            if not planned and undoes is None:
                yield db, Written(None, 0, [])
                return
            items = changes.write(db, site, planned)
            _require_consistent(db, site)
            entry = _insert(db, site, actor, action, items, planned, undoes)
            audit.note(db, actor, action, site, {"items": items, "entry": entry})
            yield db, Written(entry, items, planned)

    def get(self, entry: int, shown: int) -> Entry | None:
        """An entry, with the first `shown` of its changes."""
        entries = self._entries(t.journal.c.entry == entry, 1, shown)
        return entries[0] if entries else None

    def page(self, site: str, item: int | None, before: int | None, limit: int, shown: int) -> list[Entry]:
        """Entries of a site, the newest first, each with the first `shown` of its changes.

        Args:
            item: seq of an item: only entries that changed it. before: only entries older than this one.
        """
        where = sa.and_(t.journal.c.site == site, t.journal.c.entry < (before or _LATEST))
        if item is not None:
            of_item = sa.select(t.journal_changes.c.entry).where(t.journal_changes.c.seq == item)
            where = sa.and_(where, t.journal.c.entry.in_(of_item))
        return self._entries(where, limit, shown)

    def _entries(self, where: sa.ColumnElement[bool], limit: int, shown: int) -> list[Entry]:
        query = sa.select(t.journal).where(where).order_by(t.journal.c.entry.desc()).limit(limit)
        entries = []
        with self.database.read() as db:
            for row in db.execute(query).all():
                made = _changes_of(db, row.entry, shown)
                seqs = {change.cell.seq for change in made if change.cell.seq is not None}
                for change in made:
                    if change.cell.field == "feature":
                        seqs |= {seq for seq in (change.before, change.after) if seq is not None}
                ids = sa.select(t.items.c.seq, t.items.c.id).where(t.items.c.seq.in_(seqs))
                known = {seq: item for seq, item in db.execute(ids)}
                entries.append(Entry(**row._mapping, changes=made, ids=known))
        return entries

    def drop_old(self, older_than_s: float) -> int:
        """Deletes entries that are older than this; looks for them once an hour at most.

        Returns how many: their bytes may stay in the database's files until `Store.purge` has succeeded.
        """
        now = time.monotonic()
        if now - self.dropped_at < _DROP_EVERY_S:
            return 0
        old = sa.select(t.journal.c.entry).where(t.journal.c.at < time.time() - older_than_s)
        with self.database.write() as db:
            db.execute(t.journal_changes.delete().where(t.journal_changes.c.entry.in_(old)))
            count = db.execute(t.journal.delete().where(t.journal.c.entry.in_(old))).rowcount
        self.dropped_at = now
        return count


def undo(db: sa.Connection, entry: int, oldest: float) -> list[Change]:
    """What undoes an entry. What was said since of a person whom it renamed follows the person.

    Args:
        oldest: seconds since 1970; entries before it cannot be undone.

    Raises NotFound, and Conflict for one that is undone, too old, or whose values were changed since: that
    names the entry which has to be undone first.
    """
    row = db.execute(sa.select(t.journal).where(t.journal.c.entry == entry)).first()
    if row is None:
        raise NotFound(f"there is no journal entry {entry}; entries are kept for a time and then deleted")
    if row.undone_by is not None:
        raise Conflict(
            f"entry {entry} was undone by entry {row.undone_by}; undo that one to do it again",
            entry=row.undone_by,
        )
    if row.at < oldest:
        raise Conflict(f"entry {entry} is too old to be undone; correct the items themselves")
    made = _changes_of(db, entry)
    if not made:
        raise Conflict(f"entry {entry} cannot be undone: everything that it changed was erased")
    later = _later(db, row.site, entry)
    if later is not None:
        raise Conflict(
            f"entry {later} changed the same after entry {entry}; undo entry {later} first", entry=later
        )
    now = changes.read(db, row.site, [change.cell for change in made])
    for change in made:
        if change.cell in now and now[change.cell] != change.after:
            newest = _newest(db, row.site, change.cell)
            raise Conflict(
                f"entry {entry} cannot be undone: {change.cell.field} has another value by now, by entry "
                f"{newest}; undo entry {newest} first",
                entry=newest,
            )
    undone = [Change(change.cell, change.after, change.before) for change in made if change.cell in now]
    return undone + renames.follow(db, row.site, entry, [change for change in made if change.cell in now])


def forget(db: sa.Connection, seqs: Sequence[int]) -> None:
    """Deletes what is said of items beside the items themselves, inside the transaction that erases them and
    before it does.

    Args:
        seqs: 500 at most.
    """
    rows = t.journal_changes.c
    numbers = [json.dumps(int(seq)) for seq in seqs]
    features = sa.and_(rows.field == "feature", sa.or_(rows.before.in_(numbers), rows.after.in_(numbers)))
    db.execute(t.journal_changes.delete().where(sa.or_(rows.seq.in_(seqs), features)))
    db.execute(t.denials.delete().where(t.denials.c.seq.in_(seqs)))
    db.execute(t.people.update().where(t.people.c.feature.in_(seqs)).values(feature=None))


def names_of(db: sa.Connection, seqs: Sequence[int]) -> tuple[set[str], set[str]]:
    """(Names that items bear, other names that the journal or a denial has for them): both are asked for
    before an erasure, for `forget_names` after it."""
    borne = sa.select(t.items.c.identity).where(t.items.c.seq.in_(seqs), t.items.c.identity.is_not(None))
    names = set(db.execute(borne.distinct()).scalars())
    rows = t.journal_changes.c
    texts = sa.select(rows.before, rows.after).where(rows.seq.in_(seqs), rows.field == "identity")
    others = {json.loads(text) for row in db.execute(texts) for text in row}
    others |= set(db.execute(sa.select(t.denials.c.identity).where(t.denials.c.seq.in_(seqs))).scalars())
    return names, others - names - {None}


def forget_names(db: sa.Connection, site: str, borne: set[str], others: set[str]) -> None:
    """Takes names out of the journal and of what is known of people, once nobody at the site bears them.

    Args:
        borne: names of items that were erased. others: names that these items had before. Where nothing is
            left of a person, both leave the past of other items, too; otherwise the others stay as long as
            another item's past has them.
    """
    gone = {name for name in borne if not _is_borne(db, site, name)}
    for name in gone | {name for name in others if not _is_borne(db, site, name)}:
        if gone:
            db.execute(t.journal_changes.delete().where(_past(site, name)))
        elif db.execute(sa.select(t.journal_changes.c.seq).where(_past(site, name)).limit(1)).first():
            continue
        _forget_person(db, site, name)


def _is_borne(db: sa.Connection, site: str, name: str) -> bool:
    bearers = sa.select(t.items.c.seq).where(t.items.c.site == site, t.items.c.identity == name)
    return db.execute(bearers.limit(1)).first() is not None


def forget_site(db: sa.Connection, site: str) -> None:
    """Deletes the journal of a site and what is known of its people."""
    entries = sa.select(t.journal.c.entry).where(t.journal.c.site == site)
    db.execute(t.journal_changes.delete().where(t.journal_changes.c.entry.in_(entries)))
    for table in (t.journal, t.people, t.differences):
        db.execute(table.delete().where(table.c.site == site))


def _forget_person(db: sa.Connection, site: str, name: str) -> None:
    rows, pairs = t.journal_changes.c, t.differences.c
    entries = rows.entry.in_(sa.select(t.journal.c.entry).where(t.journal.c.site == site))
    db.execute(t.journal_changes.delete().where(entries, sa.or_(rows.name == name, rows.other == name)))
    db.execute(t.people.delete().where(t.people.c.site == site, t.people.c.identity == name))
    db.execute(
        t.differences.delete().where(pairs.site == site, sa.or_(pairs.identity == name, pairs.other == name))
    )
    of_site = sa.select(t.items.c.seq).where(t.items.c.site == site)
    db.execute(t.denials.delete().where(t.denials.c.identity == name, t.denials.c.seq.in_(of_site)))


def _past(site: str, name: str) -> sa.ColumnElement[bool]:
    """Changes of items from or to a name."""
    rows, text = t.journal_changes.c, _text(name)
    entries = sa.select(t.journal.c.entry).where(t.journal.c.site == site)
    named = sa.or_(rows.before == text, rows.after == text)
    return sa.and_(rows.field == "identity", named, rows.entry.in_(entries))


def _lost_features(db: sa.Connection, site: str, planned: Sequence[Change]) -> list[Change]:
    """Feature pictures of people whose item becomes somebody else's."""
    known = {change.cell for change in planned}
    given = {change.cell.seq: change.after for change in planned if change.cell.field == "identity"}
    lost = []
    features = sa.select(t.people).where(t.people.c.site == site, t.people.c.feature.is_not(None))
    for row in db.execute(features) if given else ():
        cell = Cell("feature", name=row.identity)
        if cell not in known and given.get(row.feature, row.identity) != row.identity:
            lost.append(Change(cell, row.feature, None))
    return lost


def _require_consistent(db: sa.Connection, site: str) -> None:
    """Raises Conflict where an item bears the name of somebody whom it is said not to show."""
    same = sa.and_(t.denials.c.seq == t.items.c.seq, t.denials.c.identity == t.items.c.identity)
    query = sa.select(t.items.c.seq, t.items.c.id, t.items.c.identity).join(t.denials, same)
    row = db.execute(query.where(t.items.c.site == site).limit(1)).first()
    if row is None:
        return
    said = renames.denial_of(db, site, row.seq, row.identity)
    where, facts = (f" by entry {said.entry}", {"entry": said.entry}) if said is not None else ("", {})
    if said is not None and said.name != row.identity:
        where += f", as {said.name!r} was called who is {row.identity!r} by now"
    raise Conflict(
        f"item {row.id!r} was said not to be {row.identity!r}{where}; take that back first", **facts
    )


def _insert(
    db: sa.Connection,
    site: str,
    actor: str,
    action: str,
    items: int,
    planned: Sequence[Change],
    undoes: int | None,
) -> int:
    row = {"site": site, "at": round(time.time(), 6), "actor": actor, "action": action, "items": items}
    insert = t.journal.insert().values(**row, undoes=undoes).returning(t.journal.c.entry)
    entry = int(db.execute(insert).scalar_one())
    rows = [
        {**dataclasses.asdict(c.cell), "entry": entry, "before": _text(c.before), "after": _text(c.after)}
        for c in planned
    ]
    if rows:
        db.execute(t.journal_changes.insert(), rows)
    if undoes is not None:
        _mark_undone(db, undoes, entry)
    return entry


def _mark_undone(db: sa.Connection, entry: int, by: int) -> None:
    """Marks an entry as undone. Where it had undone another one, that holds again, and so on."""
    node: int | None = entry
    undone_by: int | None = by
    is_undone = True
    while node is not None:
        value = undone_by if is_undone else None
        db.execute(t.journal.update().where(t.journal.c.entry == node).values(undone_by=value))
        undone_by = node
        node = db.scalar(sa.select(t.journal.c.undoes).where(t.journal.c.entry == node))
        is_undone = not is_undone


def _later(db: sa.Connection, site: str, entry: int) -> int | None:
    """The newest entry that holds and changed one of the values that this one changed, after it."""
    mine, later = t.journal_changes.alias("mine"), t.journal_changes.alias("later")
    same = [mine.c.field == later.c.field, mine.c.name == later.c.name, mine.c.other == later.c.other]
    newer = sa.select(later.c.entry).distinct().where(mine.c.entry == entry, later.c.entry > entry, *same)
    of_items = newer.where(mine.c.seq == later.c.seq)
    of_people = newer.where(mine.c.seq.is_(None), later.c.seq.is_(None))
    found = {*db.execute(of_items).scalars(), *db.execute(of_people).scalars()}
    columns = t.journal.c  # an undo does not hold by itself: what it undid holds again or does not
    holds = sa.select(columns.entry).where(
        columns.site == site, columns.entry > entry, columns.undone_by.is_(None), columns.undoes.is_(None)
    )
    return max(found & set(db.execute(holds).scalars()), default=None)


def _newest(db: sa.Connection, site: str, cell: Cell) -> int | None:
    """The newest entry that changed a value."""
    rows = t.journal_changes.c
    of_site = sa.select(t.journal.c.entry).where(t.journal.c.site == site)
    where = [rows.field == cell.field, rows.name == cell.name, rows.other == cell.other]
    where.append(rows.seq == cell.seq if cell.seq is not None else rows.seq.is_(None))
    return db.scalar(sa.select(sa.func.max(rows.entry)).where(rows.entry.in_(of_site), *where))


def _changes_of(db: sa.Connection, entry: int, most: int | None = None) -> list[Change]:
    rows = t.journal_changes.c
    query = sa.select(t.journal_changes).where(rows.entry == entry).order_by(rows.number).limit(most)
    return [
        Change(Cell(row.field, row.seq, row.name, row.other), json.loads(row.before), json.loads(row.after))
        for row in db.execute(query)
    ]


def _text(value: Any) -> str:
    """JSON by which equal values are equal texts."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
