"""What is known of a site's items at one moment, as doubtful cases are looked for in it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np

from reid.doubts import Gallery, NearestPeople, OwnScores
from server.clustering import Grouped, floor_of
from server.gallery.people import Said
from server.gallery.reviews import Kind
from server.sites import SiteState
from server.thresholds import calibration_of, report_of

LOWEST = 0.1  # a probability below which nobody is asked
_PEOPLE = 8  # whom a person looks most like, that are compared both ways
# Where nothing says what scores mean, cases are ordered by this slope and intercept: one in ten is right at
# cosine 0.5, as clusters suppose, and every second one at 0.65.
_GUESS = (15.0, -9.7)


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Items with their vectors, as they are compared.

    Args:
        seqs: int64 [N], ascending. cameras: of each item. vectors: float32 [N,D], unit length.
    """

    seqs: np.ndarray
    cameras: Sequence[str | None]
    vectors: np.ndarray

    def marks(self) -> list[Hashable]:
        """What tells the items from each other, as one version compares them."""
        return list(zip(self.seqs.tolist(), self.cameras, strict=True))


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a cosine means at a site.

    Args:
        floor: the lowest one that makes a case. known: whether probabilities are of the live space.
    """

    slope: float
    intercept: float
    floor: float
    known: bool

    def logit(self, score: float) -> float:
        """The logarithm of the odds that both are one person."""
        return min(max(self.slope * score + self.intercept, -50.0), 50.0)

    def probability(self, score: float) -> float:
        """That both are one person."""
        return 1 / (1 + math.exp(-self.logit(score)))


def meaning_of(state: SiteState) -> Meaning:
    """What a cosine means in a version."""
    floor, known = floor_of(state)[0], state.version.calibration
    if known is None:
        return Meaning(*_GUESS, floor, False)
    report = report_of(known, len(state.index))
    return Meaning(report.slope, report.intercept, floor, calibration_of(state.version) is not None)


@dataclasses.dataclass(frozen=True)
class Units:
    """What is asked about as a whole without having a name: clusters, and items that stand alone.

    Args:
        rows: of each unit's items among those without a name. vectors: float32 [U,D], unit length.
    """

    rows: list[list[int]]
    vectors: np.ndarray


@dataclasses.dataclass(frozen=True)
class Moment:
    """Items, names and what was said of them.

    Args:
        gallery: items that have a name, of people who are not hidden; the person with the oldest item first.
        seqs, persons: int64 [N] of these. means: float32 [P,D], unit length, of the people.
        unnamed: items without a name. units: what is asked about of these.
    """

    meaning: Meaning
    gallery: Gallery
    seqs: np.ndarray
    persons: np.ndarray
    marks: Sequence[Hashable]
    means: np.ndarray
    unnamed: Embedded
    units: Units
    said: Said

    def name_of(self, row: int) -> str:
        """The name of an item."""
        return self.gallery.people[int(self.persons[row])]

    def denied(self, seqs: Sequence[int]) -> frozenset[str]:
        """Names of people whom one of some items does not show."""
        return frozenset(name for seq in seqs for name in self.said.denied.get(seq, ()))


def moment_of(
    meaning: Meaning,
    named: Embedded,
    identities: Sequence[str],
    unnamed: Embedded,
    grouped: Grouped,
    said: Said,
) -> Moment:
    """A moment of a site.

    Args:
        named: items that have a name, of people who are not hidden. identities: [N], their names.
        unnamed: items without one. grouped: their clusters.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(identities))}
    persons = np.array([numbers[name] for name in identities], np.int64)
    order = np.argsort(persons, kind="stable")
    persons, vectors = persons[order], named.vectors[order]
    starts = np.searchsorted(persons, np.arange(len(numbers) + 1))  # int64 [P+1]
    all_marks = named.marks()
    marks = [all_marks[row] for row in order.tolist()]
    of_people = [tuple(marks[a:b]) for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
    means = np.add.reduceat(vectors, starts[:-1], axis=0) if len(numbers) else vectors[:0]
    means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
    gallery = Gallery(list(numbers), of_people, starts, vectors)
    units = _units(unnamed, grouped)
    return Moment(meaning, gallery, named.seqs[order], persons, marks, means, unnamed, units, said)


def _units(unnamed: Embedded, grouped: Grouped) -> Units:
    place = {seq: row for row, seq in enumerate(unnamed.seqs.tolist())}
    units: list[list[int]] = []
    means = []
    for seqs, mean in zip(grouped.members, grouped.means, strict=True):
        # without an item that has got a name, or was erased, since the clusters were made
        unit = [place[seq] for seq in seqs.tolist() if seq in place]
        if unit:
            units.append(unit)
            means.append(mean)
    alone = sorted(set(range(len(place))) - {row for unit in units for row in unit})
    clusters = np.array(means, np.float32).reshape(len(means), unnamed.vectors.shape[1])
    return Units([*units, *([row] for row in alone)], np.concatenate([clusters, unnamed.vectors[alone]]))


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A case before its evidence is looked for, which most cases do not get.

    Args:
        asked: a number of the unit, person or row that is asked about. other: a number of the other person.
        score: cosine of an item of the other person and of what is asked about: an item, or the mean of a
            cluster's items or of a person's.
        own: of a misnamed item, the cosine of the most similar item that bears its name.
        probability: that it is the same person. items: how many get another name where it is.
    """

    kind: Kind
    asked: int
    other: int
    score: float
    own: float | None
    probability: float
    items: int


@dataclasses.dataclass(frozen=True)
class Searches:
    """What was found at the last moment of one version of a site, so that the next costs what has changed."""

    units: NearestPeople = dataclasses.field(default_factory=lambda: NearestPeople(1))
    items: NearestPeople = dataclasses.field(default_factory=lambda: NearestPeople(1))
    people: NearestPeople = dataclasses.field(default_factory=lambda: NearestPeople(_PEOPLE))
    own: OwnScores = dataclasses.field(default_factory=OwnScores)
