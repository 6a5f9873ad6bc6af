"""A ranking by person: each once, with the items that speak for them; and whether anybody fits at all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from reid.calibration import Calibration
from server.gallery.index import SCORE_DIGITS
from server.gallery.records import Item

EVIDENCE = 5  # items of a person that an answer shows, at most
# a calibration has thresholds for these shares of queries of unknown people, which still raise a match
RARE, SURE, POSSIBLE = 0.001, 0.01, 0.1
Decision = Literal["match", "ambiguous", "nobody"]


@dataclasses.dataclass(frozen=True)
class Match:
    """A ranked gallery item."""

    rank: int
    score: float  # cosine
    item: Item

    def without_metadata(self) -> Match:
        """The same, its item with empty metadata."""
        return dataclasses.replace(self, item=self.item.without_metadata())


@dataclasses.dataclass(frozen=True)
class Person:
    """A ranked person.

    Args:
        identity: None where nobody has named the items.
        cluster: of a person without a name the item by which the cluster is called; None for one with a name,
            and for an item that stands alone.
        score: of the person's best item. margin: by how much it is above the next person's score; None where
            nobody comes next. items: the best ones, with their ranks among all items.
    """

    rank: int
    identity: str | None
    cluster: str | None
    score: float
    margin: float | None
    items: list[Match]


@dataclasses.dataclass(frozen=True)
class People:
    """An answer by person.

    Args:
        decision: None unless the site's labels say what scores mean in the live space. probability: that the
            first person is the right one; None where nothing says that, and where there is no person.
        guess: whether it comes from a calibration that was not measured in the live space at this site.
    """

    people: list[Person]
    decision: Decision | None
    probability: float | None
    guess: bool | None

    def without_metadata(self) -> People:
        """The same, the items with empty metadata."""
        people = []
        for person in self.people:
            items = [match.without_metadata() for match in person.items]
            people.append(dataclasses.replace(person, items=items))
        return dataclasses.replace(self, people=people)


def rows_of_people(
    identities: Sequence[str | None], clusters: Sequence[object | None] | None = None
) -> list[list[int]]:
    """The identities of ranked items -> the rows of each person, in order of their best item. A row without
    an identity belongs to its cluster, where it has one, and stands alone otherwise."""
    clusters = clusters or [None] * len(identities)
    rows: dict[tuple[str, object], list[int]] = {}
    for row, (identity, cluster) in enumerate(zip(identities, clusters, strict=True)):
        if identity is not None:
            who: tuple[str, object] = ("name", identity)
        else:
            who = ("row", row) if cluster is None else ("cluster", cluster)
        rows.setdefault(who, []).append(row)
    return list(rows.values())


def by_person(matches: Sequence[Match], clusters: Mapping[int, str] | None = None) -> list[Person]:
    """Items in order of their scores -> people in order of their best item's score.

    Args:
        clusters: what the clusters of items are called, by seq.
    """
    called = [(clusters or {}).get(match.item.seq) for match in matches]
    groups = rows_of_people([match.item.identity for match in matches], called)
    people = []
    for number, rows in enumerate(groups):
        items = [matches[row] for row in rows[:EVIDENCE]]
        score = items[0].score
        margin = None
        if number + 1 < len(groups):
            margin = round(score - matches[groups[number + 1][0]].score, SCORE_DIGITS)
        identity = items[0].item.identity
        cluster = called[rows[0]] if identity is None else None
        people.append(Person(number + 1, identity, cluster, score, margin, items))
    return people


def decide(
    people: Sequence[Person],
    top_k: int,
    calibration: Mapping[str, Any] | None,
    threshold: float = -math.inf,
) -> People:
    """The first `top_k` people, and what their scores mean.

    `nobody`: at least one unknown person in ten scores as high as the first person does. `match`: at most one
    in a hundred does, and the second person does not score as high as that. `ambiguous`: anything between,
    also where two people score so high, or where labels are too few to say what one in a hundred reaches. A
    guess decides nothing: thresholds of another gallery would call nobody whom a small one shows rightly,
    since fewer strangers are there to score high.

    Args:
        calibration: as `CalibrationReport`, at the gallery's size; None where nothing is known.
        threshold: lowest cosine of an item that is shown. Who is hidden by it is still the next person, whom
            a margin is over and who may fit as well as the first.
    """
    shown = [_above(person, threshold) for person in people[:top_k] if person.score >= threshold]
    if calibration is None:
        return People(shown, None, None, None)
    guess = bool(calibration["guess"])
    sure, possible = (calibration["thresholds"][str(share)] for share in (SURE, POSSIBLE))
    if not shown:
        return People(shown, None if guess or possible is None else "nobody", None, guess)
    scores = np.array([people[0].score])
    probability = float(Calibration(calibration["slope"], calibration["intercept"])(scores)[0])
    decision: Decision | None = "ambiguous"
    if guess or possible is None:
        decision = None
    elif people[0].score <= possible:
        decision = "nobody"
    elif sure is not None and people[0].score > sure and not any(p.score > sure for p in people[1:2]):
        decision = "match"
    return People(shown, decision, round(probability, 4), guess)


def _above(person: Person, threshold: float) -> Person:
    """The person with the items alone that reach a threshold."""
    items = [match for match in person.items if match.score >= threshold]
    return dataclasses.replace(person, items=items)
