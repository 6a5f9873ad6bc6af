"""Corrections as changes of single values: how each is read and written, inside an open transaction.

A value belongs to an item (its labels), to a person's name at a site (whether it is hidden), to an item and a
name (said not to be that person) or to two names (said to be different people). Whatever a correction does is
a list of such changes, so the journal can undo all of them alike.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.records import Item
from server.gallery.rows import COLUMNS, read_item

Label = Literal["identity", "camera", "captured_at", "metadata"]
Field = Literal[Label, "not_person", "hidden", "feature", "different"]
LABELS: tuple[Label, ...] = ("identity", "camera", "captured_at", "metadata")
_CHUNK = 500  # values in one IN list


@dataclasses.dataclass(frozen=True)
class Cell:
    """Where a value stands.

    Args:
        seq: of the item that it belongs to; None where it is a person's. name: of that person, or the one
            whom the item does not show. other: the second name of a pair, the greater one.
    """

    field: Field
    seq: int | None = None
    name: str = ""
    other: str = ""


@dataclasses.dataclass(frozen=True)
class Change:
    """One value before and after: text, seconds since 1970, an object of metadata, a boolean, the seq of a
    feature picture, or None."""

    cell: Cell
    before: Any
    after: Any


def pair(one: str, other: str) -> Cell:
    """The cell of two people, whichever is named first."""
    lesser, greater = sorted((one, other))
    return Cell("different", name=lesser, other=greater)


def items_by_seq(db: sa.Connection, seqs: Sequence[int]) -> dict[int, Item]:
    """Items by seq; those that are gone are left out."""
    items: dict[int, Item] = {}
    for start in range(0, len(seqs), _CHUNK):
        chunk = [int(seq) for seq in seqs[start : start + _CHUNK]]
        for row in db.execute(sa.select(*COLUMNS).where(t.items.c.seq.in_(chunk))):
            items[row.seq] = read_item(row)
    return items


def seqs_of_ids(db: sa.Connection, site: str, ids: Sequence[str]) -> list[int]:
    """Seqs of the items of a site that have these ids; those that are not there are left out."""
    seqs: list[int] = []
    for start in range(0, len(ids), _CHUNK):
        chunk = t.items.c.id.in_(ids[start : start + _CHUNK])
        seqs += db.execute(sa.select(t.items.c.seq).where(t.items.c.site == site, chunk)).scalars()
    return seqs


def read(db: sa.Connection, site: str, cells: Iterable[Cell]) -> dict[Cell, Any]:
    """The present values of cells; those of items that are gone are left out."""
    cells = list(cells)
    items = items_by_seq(db, sorted({cell.seq for cell in cells if cell.seq is not None}))
    values: dict[Cell, Any] = {}
    for cell in cells:
        if cell.seq is None:
            values[cell] = _of_person(db, site, cell)
        elif cell.seq in items:
            label = cell.field != "not_person"
            values[cell] = getattr(items[cell.seq], cell.field) if label else _is_denied(db, cell)
    return values


def write(db: sa.Connection, site: str, changes: Sequence[Change]) -> int:
    """Writes the values after changes; an item that is changed gets its next revision. Returns how many items
    these were."""
    labels: dict[tuple[str, str], list[int]] = defaultdict(list)  # seqs by field and value
    for change in changes:
        if change.cell.seq is not None and change.cell.field != "not_person":
            labels[change.cell.field, json.dumps(change.after, sort_keys=True)].append(change.cell.seq)
    for (field, value), seqs in labels.items():
        _update_items(db, seqs, {field: json.loads(value)})
    for change in changes:
        if change.cell.field == "not_person":
            _deny(db, change)
        elif change.cell.seq is None:
            _write_of_person(db, site, change)
    seqs = sorted({change.cell.seq for change in changes if change.cell.seq is not None})
    _update_items(db, seqs, {"revision": t.items.c.revision + 1})
    return len(seqs)


def _update_items(db: sa.Connection, seqs: Sequence[int], values: dict[str, Any]) -> None:
    for start in range(0, len(seqs), _CHUNK):
        chunk = t.items.c.seq.in_(seqs[start : start + _CHUNK])
        db.execute(t.items.update().where(chunk).values(**values))


def _is_denied(db: sa.Connection, cell: Cell) -> bool:
    row = sa.select(t.denials.c.seq).where(t.denials.c.seq == cell.seq, t.denials.c.identity == cell.name)
    return db.execute(row).first() is not None


def _deny(db: sa.Connection, change: Change) -> None:
    columns, cell = t.denials.c, change.cell
    db.execute(t.denials.delete().where(columns.seq == cell.seq, columns.identity == cell.name))
    if change.after:
        db.execute(t.denials.insert().values(seq=cell.seq, identity=cell.name))


def _of_person(db: sa.Connection, site: str, cell: Cell) -> Any:
    if cell.field == "different":
        return db.execute(sa.select(t.differences).where(*_of_pair(site, cell))).first() is not None
    row = db.execute(sa.select(t.people).where(*_named(site, cell))).first()
    if cell.field == "hidden":
        return row is not None and bool(row.hidden)
    return row.feature if row is not None else None


def _write_of_person(db: sa.Connection, site: str, change: Change) -> None:
    cell = change.cell
    if cell.field == "different":
        db.execute(t.differences.delete().where(*_of_pair(site, cell)))
        if change.after:
            db.execute(t.differences.insert().values(site=site, identity=cell.name, other=cell.other))
        return
    row = db.execute(sa.select(t.people).where(*_named(site, cell))).first()
    values = {"hidden": row is not None and row.hidden, "feature": row.feature if row is not None else None}
    values[cell.field] = change.after
    db.execute(t.people.delete().where(*_named(site, cell)))
    if values["hidden"] or values["feature"] is not None:
        db.execute(t.people.insert().values(site=site, identity=cell.name, **values))


def _named(site: str, cell: Cell) -> list[sa.ColumnElement[bool]]:
    return [t.people.c.site == site, t.people.c.identity == cell.name]


def _of_pair(site: str, cell: Cell) -> list[sa.ColumnElement[bool]]:
    columns = t.differences.c
    return [columns.site == site, columns.identity == cell.name, columns.other == cell.other]
