"""Corrections, undoings and erasures in any order, against a model of dictionaries, on both databases."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from server.errors import Conflict
from server.gallery import changes, journal, people
from server.gallery import tables as t
from server.gallery.changes import Cell, Change, pair
from server.gallery.journal import Plan
from server.gallery.records import NewItem
from server.gallery.store import Store
from tests.stores import BACKENDS, add_site, open_store

NAMES = ("ada", "bea", "cy")
ITEMS = 5
State = dict[Cell, Any]  # values that are not the default: nobody, no camera, false
names, places = st.sampled_from(NAMES), st.integers(0, ITEMS - 1)
_numbers = itertools.count()


@dataclasses.dataclass
class Kept:
    """An entry as the model remembers it: what was before and after, by cell."""

    made: dict[Cell, tuple[Any, Any]]
    undoes: int | None
    action: str


class History(RuleBasedStateMachine):
    """A site of a few items, in a store that all histories share."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.site = f"site-{next(_numbers)}"
        add_site(self.store, self.site)
        new = [NewItem("door", NAMES[n % 2]) for n in range(ITEMS)]
        items = self.store.items.enroll(self.site, "space", new, None, np.ones((ITEMS, 4)))
        self.seqs = [item.seq for item in items]
        self.state: State = {Cell("identity", item.seq): item.identity for item in items}
        self.state |= {Cell("camera", item.seq): "door" for item in items}
        self.entries: dict[int, Kept] = {}

    @rule(place=places, name=st.none() | names, camera=st.none() | st.sampled_from(["door", "hall"]))
    def relabel(self, place: int, name: str | None, camera: str | None) -> None:
        """Another name and another camera for an item."""
        seq = self.seqs[place % len(self.seqs)] if self.seqs else 0
        cells = {Cell("identity", seq): name, Cell("camera", seq): camera} if self.seqs else {}
        self.correct(lambda db: self.plan(db, cells), self.state | cells)

    @rule(name=names, hidden=st.booleans())
    def hide(self, name: str, hidden: bool) -> None:
        """A person is hidden or shown."""
        cells = {Cell("hidden", name=name): hidden}
        self.correct(lambda db: self.plan(db, cells), self.state | cells)

    @rule(place=places)
    def choose_picture(self, place: int) -> None:
        """An item stands for the person whom it shows."""
        seq = self.seqs[place % len(self.seqs)] if self.seqs else 0
        name = self.state.get(Cell("identity", seq))
        if name is not None:
            cells = {Cell("feature", name=name): seq}
            self.correct(lambda db: self.plan(db, cells), self.state | cells)

    @rule(place=places, name=names, said=st.booleans())
    def deny(self, place: int, name: str, said: bool) -> None:
        """An item does not show a person, whose name it loses; or that is taken back."""
        if self.seqs:
            seq = self.seqs[place % len(self.seqs)]
            cells: State = {Cell("not_person", seq, name): said}
            if said and self.state.get(Cell("identity", seq)) == name:
                cells[Cell("identity", seq)] = None
            self.correct(lambda db: self.plan(db, cells), self.state | cells)

    @rule(one=names, other=names, said=st.booleans())
    def differ(self, one: str, other: str, said: bool) -> None:
        """Two people are different, or perhaps not."""
        if one != other:
            cells = {pair(one, other): said}
            self.correct(lambda db: self.plan(db, cells), self.state | cells)

    @rule(name=names, to=names)
    def give_name(self, name: str, to: str) -> None:
        """A person is renamed, or merged with one who is there."""
        if name == to or not self.borne_by(name):
            return
        after, merges = dict(self.state), bool(self.borne_by(to))
        for cell, value in self.state.items():
            if cell.field == "identity" and value == name:
                after[cell] = to
            elif value and cell.field == "not_person" and cell.name == name:
                after |= {cell: False, Cell("not_person", cell.seq, to): True}
            elif value and cell.field == "different" and name in (cell.name, cell.other):
                third = cell.other if cell.name == name else cell.name
                after |= {cell: False, pair(to, third) if third != to else cell: True}
        of_name: tuple[Literal["hidden", "feature"], ...] = ("hidden", "feature")
        for field in of_name:
            old, new = Cell(field, name=name), Cell(field, name=to)
            value = after.pop(old, None)
            if not merges or (field == "feature" and after.get(new) is None):
                after[new] = value
        refused, action = self.state.get(pair(name, to), False), "merge" if merges else "rename"
        self.correct(
            lambda db: people.give_name(db, self.site, name, to), after, refused=refused, action=action
        )

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        """Any entry, also one that cannot be undone now."""
        entry = data.draw(st.sampled_from(sorted(self.entries)))
        kept = self.entries[entry]
        later = [
            e
            for e, other in self.entries.items()
            if e > entry and self.holds(e) and set(other.made) & set(kept.made)
        ]
        stale = any(self.value(cell) != after for cell, (_, after) in kept.made.items())
        blocked = self.undone_by(entry) is not None or not kept.made or bool(later) or stale
        after = self.state | {cell: before for cell, (before, _) in kept.made.items()}
        self.follow(entry, after)
        error = self.correct(lambda db: journal.undo(db, entry, 0.0), after, refused=blocked, undoes=entry)
        if error is not None and kept.made and self.undone_by(entry) is None and later:
            assert error.facts["entry"] == max(later)

    @precondition(lambda self: len(self.seqs) > 1)
    @rule(place=places, person=st.booleans())
    def erase(self, place: int, person: bool) -> None:
        """An item, or everything of the person whom it shows."""
        seq = self.seqs[place % len(self.seqs)]
        name = self.state.get(Cell("identity", seq))
        gone = self.borne_by(name) if person and name is not None else [seq]
        borne = {n for s in gone if (n := self.state.get(Cell("identity", s))) is not None}
        others = {n for s in gone for n in self.past_of(s)} - borne
        self.store.items.erase(gone, "me", self.site, "item")
        self.seqs = [s for s in self.seqs if s not in gone]
        self.forget(lambda cell, value: cell.seq in gone or (cell.field == "feature" and value in gone))
        vanished = {name for name in borne if not self.borne_by(name)}
        for name in vanished | {name for name in others if not self.borne_by(name)}:
            if vanished:
                self.forget(lambda cell, value, n=name: cell.field == "identity" and value == n)
            elif any(name in self.past_of(s, denied=False) for s in self.seqs):
                continue
            self.forget(lambda cell, value, n=name: n in (cell.name, cell.other))

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        """Every value."""
        assert self.stored() == {cell: v for cell, v in self.state.items() if v not in (None, False)}

    def teardown(self) -> None:
        """What every entry says, at the end of a history."""
        page = self.store.journal.page(self.site, None, None, 1000, 1000)
        assert [entry.entry for entry in page] == sorted(self.entries, reverse=True)
        for entry in page:
            kept = self.entries[entry.entry]
            assert {c.cell: (c.before, c.after) for c in entry.changes} == kept.made
            assert (entry.undoes, entry.undone_by) == (kept.undoes, self.undone_by(entry.entry))

    # helpers

    def follow(self, entry: int, after: State) -> None:
        """What was said since of a person whose new name goes is said of the name before."""
        kept = root = self.entries[entry]
        while root.undoes is not None:
            root = self.entries[root.undoes]
        names = {values for cell, values in kept.made.items() if cell.field == "identity"}
        if root.action != "rename" or len(names) != 1:
            return
        ((back, now),) = names
        items = {cell.seq for cell in kept.made if cell.field == "identity"}
        stays = any(after.get(Cell("identity", seq)) == now for seq in self.seqs)
        since = {cell for e, other in self.entries.items() if e > entry for cell in other.made}
        for cell in since - set(kept.made):
            value = self.value(cell)
            if now not in (cell.name, cell.other) or not value:
                continue
            target = dataclasses.replace(cell, name=back)
            if cell.field == "different":
                third = cell.other if cell.name == now else cell.name
                target = pair(back, third) if third != back else cell
            if target in (cell, *kept.made) or (cell.field == "feature" and value not in items):
                continue
            after[target] = value
            if not stays:
                after[cell] = None if cell.field == "feature" else False

    def correct(
        self,
        plan: Plan,
        after: State,
        refused: bool = False,
        undoes: int | None = None,
        action: str = "test",
    ) -> Conflict | None:
        """One correction in the store and in the model; the error where it was rightly refused."""
        for cell, seq in list(after.items()):  # a picture of somebody else stands for nobody
            if cell.field == "feature" and seq is not None and after.get(Cell("identity", seq)) != cell.name:
                after[cell] = None
        bad = any(
            v and c.field == "not_person" and after.get(Cell("identity", c.seq)) == c.name
            for c, v in after.items()
        )
        error: Conflict | None = None
        try:
            with self.store.journal.correct(self.site, "me", action, plan, undoes) as (_, written):
                entry = written.entry
        except Conflict as raised:
            error = raised
        assert (error is not None) == (refused or bad), error
        if error is not None:
            return error
        made = {}
        for cell in {*self.state, *after}:
            before, value = self.value(cell), _plain(cell, after.get(cell))
            if before != value:
                made[cell] = (before, value)
        assert (entry is None) == (not made and undoes is None)
        if entry is not None:
            self.entries[entry] = Kept(made, undoes, action)
        self.state = after
        return None

    def plan(self, db: sa.Connection, cells: State) -> list[Change]:
        """A plan that gives cells these values."""
        now = changes.read(db, self.site, cells)
        return [Change(cell, now[cell], after) for cell, after in cells.items()]

    def value(self, cell: Cell) -> Any:
        """As the journal shows it."""
        return _plain(cell, self.state.get(cell))

    def borne_by(self, name: str) -> list[int]:
        """Seqs of a person's items."""
        return [seq for seq in self.seqs if self.state.get(Cell("identity", seq)) == name]

    def past_of(self, seq: int, denied: bool = True) -> set[str]:
        """Names that entries and, where wanted, denials have for an item."""
        cells = [kept.made.get(Cell("identity", seq), ()) for kept in self.entries.values()]
        names = {name for values in cells for name in values if name is not None}
        if denied:
            names |= {c.name for c, v in self.state.items() if c.field == "not_person" and c.seq == seq and v}
        return names

    def undone_by(self, entry: int) -> int | None:
        """The entry that undid it and is not undone itself."""
        by = [e for e, kept in self.entries.items() if kept.undoes == entry and self.undone_by(e) is None]
        return max(by, default=None)

    def holds(self, entry: int) -> bool:
        """Whether it is no undo and is not undone."""
        return self.entries[entry].undoes is None and self.undone_by(entry) is None

    def forget(self, gone: Callable[..., bool]) -> None:
        """Takes values out of the model's present and past."""
        self.state = {cell: value for cell, value in self.state.items() if not gone(cell, value)}
        for kept in self.entries.values():
            kept.made = {c: v for c, v in kept.made.items() if not (gone(c, v[0]) or gone(c, v[1]))}

    def stored(self) -> State:
        """Every value of the site in the database that is not the default."""
        state: State = {}
        with self.store.database.read() as db:
            for seq, item in changes.items_by_seq(db, self.seqs).items():
                state |= {Cell("identity", seq): item.identity, Cell("camera", seq): item.camera}
            for row in db.execute(sa.select(t.denials).where(t.denials.c.seq.in_(self.seqs))):
                state[Cell("not_person", row.seq, row.identity)] = True
            for row in db.execute(sa.select(t.people).where(t.people.c.site == self.site)):
                state |= {Cell("hidden", name=row.identity): bool(row.hidden)}
                state |= {Cell("feature", name=row.identity): row.feature}
            for row in db.execute(sa.select(t.differences).where(t.differences.c.site == self.site)):
                state[pair(row.identity, row.other)] = True
        return {cell: value for cell, value in state.items() if value not in (None, False)}


def _plain(cell: Cell, value: Any) -> Any:
    """The value, or the default of its kind."""
    return bool(value) if cell.field in ("hidden", "not_person", "different") else value


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store on each database."""
    opened = open_store(request.param, tmp_path, request)
    yield opened
    opened.close()


def test_corrections_and_undoings_in_any_order_agree_with_a_model(store: Store) -> None:
    machine = type("HistoryOfThisStore", (History,), {"store": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=20,
            derandomize=True,
            phases=[Phase.generate],  # a failure is shown as it was found: shrinking it takes minutes
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
