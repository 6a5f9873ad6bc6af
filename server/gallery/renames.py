"""What was said of a person follows the person where a rename is undone, and is found under earlier names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from server.gallery import changes
from server.gallery import tables as t
from server.gallery.changes import Cell, Change, pair


@dataclasses.dataclass(frozen=True)
class Denial:
    """Where it was said that an item does not show a person.

    Args:
        entry: of the journal. name: that the person had then.
    """

    entry: int
    name: str


def follow(db: sa.Connection, site: str, entry: int, made: Sequence[Change]) -> list[Change]:
    """What was said of a person since an entry that gave the person a new name, as changes that give it to
    the name before when the entry is undone; none for any other entry. Where others bear the new name by now
    it goes on to hold for these as well.

    Args:
        made: what the entry changed, before it is undone.
    """
    names = {(change.before, change.after) for change in made if change.cell.field == "identity"}
    if len(names) != 1 or not _renames(db, entry):
        return []
    ((back, now),) = names
    items = {change.cell.seq for change in made if change.cell.field == "identity"}
    bearers = sa.select(t.items.c.seq).where(t.items.c.site == site, t.items.c.identity == now)
    stays = bool(set(db.execute(bearers).scalars()) - items)
    known = {change.cell for change in made}
    said = {cell: before for cell, before in _said_since(db, site, entry, now).items() if cell not in known}
    of_name = sorted(said, key=lambda cell: (cell.field, cell.seq or 0, cell.name, cell.other))
    to_name = [cell for cell in (_under(cell, now, back) for cell in of_name) if cell is not None]
    values = changes.read(db, site, [*of_name, *to_name])
    followed = []
    for cell in of_name:
        value, target = values.get(cell), _under(cell, now, back)
        if value == said[cell]:  # as it was at that entry: it was said of somebody else who had the name then
            continue
        if not value or target is None or target in known or (cell.field == "feature" and value not in items):
            continue
        followed.append(Change(target, values[target], value))
        if not stays:
            followed.append(Change(cell, value, None if cell.field == "feature" else False))
    return followed


def denial_of(db: sa.Connection, site: str, seq: int, name: str) -> Denial | None:
    """Who said that an item does not show a person, also under a name that the person had before; None where
    the journal has forgotten it."""
    rows = t.journal_changes.c
    of_site = sa.select(t.journal.c.entry).where(t.journal.c.site == site)
    query = sa.select(t.journal_changes).where(rows.seq == seq, rows.field == "not_person")
    said = db.execute(query.where(rows.entry.in_(of_site)).order_by(rows.entry.desc())).all()
    found: Denial | None = None
    for row in said:
        if row.name != name or row.after != "true":
            continue
        if found is not None and row.entry >= found.entry:
            continue
        found = Denial(row.entry, name)
        moved = [other for other in said if other.entry == row.entry and other.after == "false"]
        if not moved:
            break
        name = moved[0].name  # by a rename or a merge, or the undo of one
    return found


def _renames(db: sa.Connection, entry: int) -> bool:
    """Whether an entry gave a person a name that nobody had, by itself or as the undo of such an undo."""
    node: int | None = entry
    while node is not None:
        row = db.execute(sa.select(t.journal).where(t.journal.c.entry == node)).first()
        if row is None:
            return False
        if row.undoes is None:
            return bool(row.action == "rename")
        node = row.undoes
    return False


def _said_since(db: sa.Connection, site: str, entry: int, name: str) -> dict[Cell, Any]:
    """What later entries changed of what is said of a name, with its value at the entry."""
    rows = t.journal_changes.c
    later = sa.select(t.journal.c.entry).where(t.journal.c.site == site, t.journal.c.entry > entry)
    of_name = sa.or_(rows.name == name, rows.other == name)
    query = sa.select(t.journal_changes)
    query = query.where(rows.entry.in_(later), rows.field.not_in(changes.LABELS), of_name)
    said: dict[Cell, Any] = {}
    for row in db.execute(query.order_by(rows.entry)):
        said.setdefault(Cell(row.field, row.seq, row.name, row.other), json.loads(row.before))
    return said


def _under(cell: Cell, name: str, to: str) -> Cell | None:
    """The cell that says the same of another name; None where that is the other one of a pair."""
    if cell.field != "different":
        return dataclasses.replace(cell, name=to)
    third = cell.other if cell.name == name else cell.name
    return pair(to, third) if third != to else None
