"""Doubtful cases with both sides and their evidence, the most useful first."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np

from server.doubtful.merges import merges
from server.doubtful.misnamed import misnamed
from server.doubtful.moment import Candidate, Moment, Searches
from server.doubtful.unnamed import unnamed
from server.gallery.index import SCORE_DIGITS
from server.gallery.reviews import Kind, Pair
from server.people import EVIDENCE

MOST_CASES = 1000  # the most useful ones, that are kept


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a case.

    Args:
        identity: None where the items have no name. items: how many it has.
        seqs: of the items, where these and no others would be corrected; empty for a person.
        evidence: seqs of those that are most like the other side, best first.
    """

    identity: str | None
    items: int
    seqs: tuple[int, ...]
    evidence: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Doubt:
    """Whether two sides show the same person.

    Args:
        one: the side that gets the name of the other one where it is the same person.
        score, own: as of a candidate.
        probability: that it is the same person; None where nothing says what a cosine means.
    """

    kind: Kind
    one: Side
    other: Side
    score: float
    own: float | None
    probability: float | None

    @property
    def pair(self) -> Pair:
        """The two items that it shows first."""
        return self.one.evidence[0], self.other.evidence[0]

    @property
    def case(self) -> str:
        """What the case is called as long as it asks the same and shows the same two items."""
        names = [self.kind, self.one.identity, self.other.identity, self.one.seqs, *self.pair]
        digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
        return f"{self.pair[0]}-{self.pair[1]}-{digest[:16]}"


def find(moment: Moment, searches: Searches) -> tuple[list[Doubt], int]:
    """The most useful cases first, and how many there are.

    Args:
        searches: of the moment before, which they become those of this one.
    """
    found = sorted(candidates(moment, searches), key=lambda each: (-useful(each), each.kind, each.asked))
    return [doubt_of(moment, each) for each in found[:MOST_CASES]], len(found)


def candidates(moment: Moment, searches: Searches) -> list[Candidate]:
    """All cases, in no order."""
    two = merges(moment, searches)
    return [*unnamed(moment, searches), *two, *misnamed(moment, searches, two)]


def useful(candidate: Candidate) -> float:
    """How many items are expected to get their right name by an answer."""
    return candidate.probability * candidate.items


def doubt_of(moment: Moment, found: Candidate) -> Doubt:
    """A case with its evidence."""
    if found.kind == "merge":
        return _of_two(moment, found)
    if found.kind == "unnamed":
        unit = np.array(moment.units.rows[found.asked])
        asked, name = moment.units.vectors[found.asked], None
        other = _person(moment, found.other, asked)
        seqs, items = moment.unnamed.seqs[unit], moment.unnamed.vectors[unit]
        nearest = moment.gallery.vectors[_row(moment, found.other, asked)]
        shown = seqs[_best(items, nearest)]
    else:
        seqs, asked = moment.seqs[[found.asked]], moment.gallery.vectors[found.asked]
        name, shown = moment.name_of(found.asked), seqs
        other = _person(moment, found.other, asked)
    one = Side(name, len(seqs), tuple(seqs.tolist()), tuple(shown.tolist()))
    return _made(moment, found, one, other)


def _of_two(moment: Moment, found: Candidate) -> Doubt:
    """A case of two people. The one with fewer items, of two as large the later one, would get the name of
    the other."""
    one = _person(moment, found.other, moment.means[found.asked])
    other = _person(moment, found.asked, moment.means[found.other])
    return _made(moment, found, *((other, one) if one.items > other.items else (one, other)))


def _person(moment: Moment, number: int, asked: np.ndarray) -> Side:
    """A person as a side, with the items that are most like what is asked about."""
    gallery = moment.gallery
    seqs = moment.seqs[gallery.starts[number] : gallery.starts[number + 1]]
    shown = seqs[_best(gallery.of(number), asked)]
    return Side(gallery.people[number], len(seqs), (), tuple(shown.tolist()))


def _row(moment: Moment, number: int, asked: np.ndarray) -> int:
    """The row of a person's item that is most like what is asked about."""
    return int(moment.gallery.starts[number]) + int(_best(moment.gallery.of(number), asked)[0])


def _made(moment: Moment, found: Candidate, one: Side, other: Side) -> Doubt:
    own = round(found.own, SCORE_DIGITS) if found.own is not None else None
    probability = round(found.probability, 4) if moment.meaning.known else None
    return Doubt(found.kind, one, other, round(found.score, SCORE_DIGITS), own, probability)


def _best(vectors: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Rows of the vectors that are most like one, best first, as many as are shown."""
    return np.argsort(-(vectors @ asked), kind="stable")[:EVIDENCE]
