"""The review queue: doubtful cases that people decide, the most useful first."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import get_args

import numpy as np
import sqlalchemy as sa

from server.clustering import MOST_GROUPED, Clustering, floor_of
from server.correcting import Corrected, Correcting
from server.doubtful import Doubt, Embedded, Searches, find, meaning_of, moment_of
from server.errors import BadRequest, Conflict, NotFound
from server.gallery import changes, people, reviews
from server.gallery.changes import Cell, Change, pair
from server.gallery.journal import Plan, Written
from server.gallery.records import Item
from server.gallery.reviews import Answer, Asked, Kind, Pair
from server.gallery.store import Store
from server.sites import Site, Sites, SiteState

ANSWERS: tuple[Answer, ...] = get_args(Answer)
_MOST_LISTED = 200  # cases of one list
_KEPT = 16  # sites whose cases are kept
_CASE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-[0-9a-f]{16}")


@dataclasses.dataclass(frozen=True)
class CaseSide:
    """One side of a case.

    Args:
        identity: None where nobody has named the items. items: how many it has.
        evidence: those that are most like the other side, best first.
    """

    identity: str | None
    items: int
    evidence: list[Item]


@dataclasses.dataclass(frozen=True)
class Case:
    """A doubtful case: do both sides show the same person?

    Args:
        score: the cosine of both.
        probability: that it is the same person; None where nothing says what a cosine means here.
        reason: why it is asked, a sentence. skipped: whether somebody put it behind the others.
        sides: two; with `same` the first one gets the name of the second.
    """

    case: str
    kind: Kind
    score: float
    probability: float | None
    reason: str
    skipped: bool
    sides: list[CaseSide]


@dataclasses.dataclass(frozen=True)
class Queue:
    """The first cases of a site.

    Args:
        open: how many there are. guess: whether probabilities do not rest on labels of the site.
    """

    cases: list[Case]
    open: int
    guess: bool


@dataclasses.dataclass(frozen=True)
class _Found:
    """The cases of a site.

    Args:
        of: what they were found in; equal values have equal cases. doubts: the most useful first.
        count: how many there are, with those that are not kept. space_id: in which they are compared.
        denied: seqs of items that are said not to show somebody.
        version: of the site. searches: what was found in it on the way; the next search goes on from there.
    """

    of: tuple[object, ...]
    doubts: list[Doubt]
    count: int
    space_id: str
    denied: Collection[int]
    version: int
    searches: Searches

    def asked(self, doubt: Doubt) -> Asked | None:
        """How an item without a name is asked about with its best match. None for any other case: a cluster
        is compared by its mean, people as a whole, and where a better match is denied this is not it."""
        seqs = doubt.one.seqs
        if doubt.kind != "unnamed" or len(seqs) != 1 or seqs[0] in self.denied:
            return None
        return Asked(doubt.score, self.space_id)


class Reviewing:
    """The use cases. Cases are looked for when somebody asks for them, in the thread in which clusters are
    made, and kept until an item comes, goes, is named or is compared otherwise, or something is said of
    people."""

    def __init__(self, store: Store, sites: Sites, clustering: Clustering, correcting: Correcting) -> None:
        self.store, self.sites = store, sites
        self.clustering, self.correcting = clustering, correcting
        self.kept: OrderedDict[str, _Found] = OrderedDict()  # by site; of the worker alone

    async def page(self, site_name: str, limit: int) -> Queue:
        """The most useful cases of a site; those that were skipped come behind all others."""
        site = self.sites.get(site_name)
        if not 1 <= limit <= _MOST_LISTED:
            raise BadRequest(f"limit is {limit}; it must lie between 1 and {_MOST_LISTED}")
        return await self.clustering.in_worker(lambda: self._page(site, limit))

    async def answer(self, site_name: str, case: str, answer: str | None, actor: str) -> Corrected:
        """Decides a case, or puts it behind the others.

        `same` gives the first side the name of the second one; `different` remembers that it is not the same
        person; both are entries of the journal. `skip` changes nothing that is known of anybody.

        Raises NotFound for what is no case, and Conflict for one that is not open any more.
        """
        site = self.sites.get(site_name)
        if answer is None or answer not in ANSWERS:
            said = "missing" if answer is None else repr(answer[:80])
            raise BadRequest(f"answer is {said}; send one of {', '.join(ANSWERS)}")
        shown = _CASE.fullmatch(case)
        if shown is None:
            raise NotFound(
                f"{case[:80]!r} is no case of a review queue; list the queue of site {site.name!r}"
            )
        found = await self.clustering.in_worker(lambda: self._find(site, case))
        if found is None:
            seqs = int(shown[1]), int(shown[2])
            raise await asyncio.to_thread(self._closed, site, case, seqs)
        doubt, asked = found
        if answer == "skip":
            await asyncio.to_thread(self._skip, site, doubt, actor)
            return Corrected(site.name, None, 0)
        action, plan = _same(site, doubt) if answer == "same" else ("different", _different(site, doubt))

        def keep(db: sa.Connection, written: Written) -> None:
            reviews.keep(db, site.name, doubt.kind, doubt.pair, answer, written.entry, actor, asked)

        return await self.correcting.apply(site, actor, action, plan, beside=keep)

    def _page(self, site: Site, limit: int) -> Queue:
        found, skipped = self._found(site), self.store.reviews.skipped(site.name)
        ordered = sorted(found.doubts, key=lambda doubt: (doubt.kind, doubt.pair) in skipped)
        shown = ordered[:limit]
        seqs = {seq for doubt in shown for side in (doubt.one, doubt.other) for seq in side.evidence}
        items = self.store.items.by_seq(sorted(seqs))
        cases = [
            _case(doubt, items, (doubt.kind, doubt.pair) in skipped)
            for doubt in shown
            if all(seq in items for seq in doubt.pair)  # none of them was erased a moment ago
        ]
        return Queue(cases, found.count, floor_of(site.state)[1])

    def _find(self, site: Site, case: str) -> tuple[Doubt, Asked | None] | None:
        """The case of that name, where it is open, and how its item is asked about."""
        found = self._found(site)
        return next(((doubt, found.asked(doubt)) for doubt in found.doubts if doubt.case == case), None)

    def _found(self, site: Site) -> _Found:
        state = site.state
        grouped, _ = self.clustering.grouped(site, state, floor_of(state)[0])
        seqs, cameras, identities = self.store.items.labels(site.name, with_image=False)
        said = self.store.people.said(site.name)
        labels = (seqs.tobytes(), tuple(cameras), tuple(identities))
        version, meaning = state.version.version, meaning_of(state)
        of = (version, meaning, grouped.of, labels, said)
        kept = self.kept.get(site.name)
        if kept is None or kept.of != of:
            shown = [name if isinstance(name, str) else None for name in identities]
            named = [row for row, name in enumerate(shown) if name is not None and name not in said.hidden]
            named, of_named = _embedded(site, state, seqs, cameras, named)
            unnamed = [row for row, name in enumerate(identities) if name is None]
            _, of_unnamed = _embedded(site, state, seqs, cameras, unnamed)
            names = [shown[row] or "" for row in named]
            moment = moment_of(meaning, of_named, names, of_unnamed, grouped, said)
            searches = kept.searches if kept is not None and kept.version == version else Searches()
            kept = _Found(of, *find(moment, searches), state.version.space_id, said.denied, version, searches)
            self.kept[site.name] = kept
        self.kept.move_to_end(site.name)
        while len(self.kept) > _KEPT:
            self.kept.popitem(last=False)
        return kept

    def _skip(self, site: Site, doubt: Doubt, actor: str) -> None:
        with site.lock:
            if site.deleted:
                raise Conflict(f"site {site.name!r} was deleted meanwhile")
            with self.store.database.write() as db:
                _require_open(db, doubt)
                reviews.keep(db, site.name, doubt.kind, doubt.pair, "skip", None, actor)

    def _closed(self, site: Site, case: str, shown: Pair) -> Conflict:
        """Why a case cannot be answered."""
        for review in reversed(self.store.reviews.of_pair(site.name, shown)):
            if review.answer != "skip" and not review.undone:
                entry = review.entry
                facts = {"entry": entry} if entry is not None else {}
                undo = f"; entry {entry} of the journal can be undone" if entry is not None else ""
                return Conflict(
                    f"case {case!r} is not open at site {site.name!r}: whether these two show one person was "
                    f"answered {review.answer!r} by {review.actor}{undo}; nothing was changed",
                    **facts,
                )
        return Conflict(
            f"case {case!r} is not open at site {site.name!r}: it was decided otherwise, or what it asks "
            "about has changed since you saw it; nothing was changed, list the queue again"
        )


def _embedded(
    site: Site, state: SiteState, seqs: np.ndarray, cameras: Sequence[str | None], rows: Sequence[int]
) -> tuple[list[int], Embedded]:
    """The newest of some rows that the index holds, and their vectors."""
    newest = list(rows[-MOST_GROUPED:])
    places, vectors = site.vectors(state, seqs[newest])
    held = [newest[place] for place in places.tolist()]
    return held, Embedded(seqs[held], [cameras[row] for row in held], vectors)


def _same(site: Site, doubt: Doubt) -> tuple[str, Plan]:
    """An action of the journal, and how both sides become one person."""
    name, into = doubt.one.identity, doubt.other.identity or ""

    def plan(db: sa.Connection) -> list[Change]:
        _require_open(db, doubt)
        if doubt.kind == "merge":
            return people.give_name(db, site.name, name or "", into)
        return [Change(Cell("identity", seq), name, into) for seq in doubt.one.seqs]

    actions = {"merge": "merge", "unnamed": "name", "misnamed": "update"}
    return actions[doubt.kind], plan


def _different(site: Site, doubt: Doubt) -> Plan:
    """Remembers that both sides are not the same person."""
    one, other = doubt.one.identity, doubt.other.identity or ""

    def plan(db: sa.Connection) -> list[Change]:
        _require_open(db, doubt)
        if doubt.kind == "merge":
            cells = [pair(one or "", other)]
        else:
            cells = [Cell("not_person", seq, other) for seq in doubt.one.seqs]
        values = changes.read(db, site.name, cells)
        return [Change(cell, values[cell], True) for cell in cells]

    return plan


def _require_open(db: sa.Connection, doubt: Doubt) -> None:
    """Raises Conflict where an item that the case is about was erased, or shows somebody else by now."""
    sides = (doubt.one, doubt.other)
    expected = {seq: side.identity for side in sides for seq in (*side.seqs, side.evidence[0])}
    items = changes.items_by_seq(db, sorted(expected))
    for seq, identity in expected.items():
        if seq not in items:
            raise Conflict(
                "an item of the case was erased meanwhile; nothing was changed, list the queue again"
            )
        if items[seq].identity != identity:
            now = items[seq].identity
            bears = "bears no name" if now is None else f"bears the name {now!r}"
            raise Conflict(
                f"item {items[seq].id!r} {bears} by now; nothing was changed, list the queue again",
                item=items[seq].id,
            )


def _case(doubt: Doubt, items: dict[int, Item], skipped: bool) -> Case:
    sides = [
        CaseSide(side.identity, side.items, [items[seq] for seq in side.evidence if seq in items])
        for side in (doubt.one, doubt.other)
    ]
    return Case(doubt.case, doubt.kind, doubt.score, doubt.probability, _reason(doubt), skipped, sides)


def _rounded(probability: float) -> str:
    """A probability with two decimals; never as certain as rounding would make it."""
    text = f"{probability:.2f}"
    return {"1.00": "over 0.99", "0.00": "under 0.01"}.get(text, text)


def _reason(doubt: Doubt) -> str:
    """Why a case is asked, for the person who decides it."""
    name, other = doubt.one.identity, doubt.other.identity
    likely = (
        f"the probability that both are one person is {_rounded(doubt.probability)}"
        if doubt.probability is not None
        else f"their cosine is {doubt.score:.2f}, and nothing says yet what that means here"
    )
    if doubt.kind == "unnamed":
        count = doubt.one.items
        whose = "An item without a name looks" if count == 1 else f"{count} items without a name look"
        return f"{whose} most like {other!r}: {likely}."
    if doubt.kind == "merge":
        return f"{name!r} and {other!r} look like one person: {likely}."
    own = f"its cosine with these is {doubt.score:.2f}, with those of its own name {doubt.own or 0:.2f}"
    chance = f", and {likely}" if doubt.probability is not None else ""
    return f"An item that bears the name {name!r} looks more like {other!r}: {own}{chance}."
