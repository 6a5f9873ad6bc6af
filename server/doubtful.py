"""Doubtful cases of a site, computed: who may be whom, although the names say otherwise or say nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from reid.doubts import nearest_others, nearest_people, own_scores
from server.clustering import Grouped, floor_of
from server.gallery.index import SCORE_DIGITS
from server.gallery.people import Said
from server.gallery.reviews import Kind, Pair
from server.people import EVIDENCE
from server.sites import SiteState
from server.thresholds import calibration_of, report_of

MOST_CASES = 1000  # the most useful ones, that are kept
_PEOPLE = 8  # whom a person looks most like, that are compared both ways
_LOWEST = 0.1  # a probability below which nobody is asked
# Where nothing says what scores mean, cases are ordered by this slope and intercept: one in ten is right at
# cosine 0.5, as clusters suppose, and every second one at 0.65.
_GUESS = (15.0, -9.7)


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Items with their vectors, as they are compared.

    Args:
        seqs: int64 [N], ascending. vectors: float32 [N,D], unit length.
    """

    seqs: np.ndarray
    vectors: np.ndarray


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
        score: cosine of an item of one person and of what is asked about: an item, or the mean of a cluster's
            items or another person's.
        own: of a misnamed item, the cosine of the most similar item that bears its name.
        probability: that it is the same person; None where nothing says what a cosine means.
        useful: how much an answer is expected to change, 0 to 1.
    """

    kind: Kind
    one: Side
    other: Side
    score: float
    own: float | None
    probability: float | None
    useful: float

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


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A case before its evidence is looked for, which most cases do not get.

    Args:
        asked: a number of the unit, person or row that is asked about.
        other: the row of the other person's most similar item; of a merge the number of the other person.
    """

    kind: Kind
    asked: int
    other: int
    score: float
    own: float | None
    probability: float
    useful: float


class Doubts:
    """The doubtful cases of one moment of a site.

    Args:
        named: items that have a name, of people who are not hidden. identities: [N], their names.
        unnamed: items without one. grouped: their clusters.
    """

    def __init__(
        self,
        state: SiteState,
        named: Embedded,
        identities: Sequence[str],
        unnamed: Embedded,
        grouped: Grouped,
        said: Said,
    ) -> None:
        self.state, self.unnamed, self.said = state, unnamed, said
        self._sort(named, identities)
        self._take_units(grouped)
        self.floor = floor_of(state)[0]
        self.slope, self.intercept, self.means_something = meaning_of(state)

    def find(self) -> tuple[list[Doubt], int]:
        """The most useful cases first, and how many there are."""
        merges = self._merges()
        candidates = [*self._unnamed(), *merges.values(), *self._misnamed(merges)]
        candidates.sort(key=lambda each: (-each.useful, each.kind, each.asked))
        return [self._doubt(each) for each in candidates[:MOST_CASES]], len(candidates)

    def _sort(self, named: Embedded, identities: Sequence[str]) -> None:
        """Puts the items of one person beside each other, the person with the oldest item first."""
        numbers = {name: number for number, name in enumerate(dict.fromkeys(identities))}
        persons = np.array([numbers[name] for name in identities], np.int64)
        order = np.argsort(persons, kind="stable")
        self.names, self.numbers = list(numbers), numbers
        self.seqs, self.vectors, self.persons = named.seqs[order], named.vectors[order], persons[order]
        self.starts = np.searchsorted(self.persons, np.arange(len(numbers) + 1))  # int64 [P+1]

    def _take_units(self, grouped: Grouped) -> None:
        """What is asked about as a whole without having a name: clusters, and items that stand alone."""
        place = {seq: row for row, seq in enumerate(self.unnamed.seqs.tolist())}
        self.units: list[list[int]] = []  # rows of their items
        means = []
        for seqs, mean in zip(grouped.members, grouped.means, strict=True):
            # without an item that has got a name, or was erased, since the clusters were made
            unit = [place[seq] for seq in seqs.tolist() if seq in place]
            if unit:
                self.units.append(unit)
                means.append(mean)
        alone = sorted(set(range(len(place))) - {row for unit in self.units for row in unit})
        self.units += [[row] for row in alone]
        clusters = np.array(means, np.float32).reshape(len(means), self.unnamed.vectors.shape[1])
        self.unit_vectors = np.concatenate([clusters, self.unnamed.vectors[alone]])

    def _unnamed(self) -> list[_Candidate]:
        """Units and the named person whom each looks most like: the nearer to undecided, the more useful."""
        barred = []
        for unit in self.units:
            denied = [self.said.denied.get(int(self.unnamed.seqs[row]), ()) for row in unit]
            barred.append({self.numbers[name] for names in denied for name in names if name in self.numbers})
        scores, rows = nearest_others(self.unit_vectors, self.vectors, self.starts, barred)
        found = []
        for number in np.flatnonzero(scores >= self.floor).tolist():
            score = float(scores[number])
            probability = self._probability(score)
            if probability >= _LOWEST:
                useful = _entropy(probability)
                found.append(
                    _Candidate("unnamed", number, int(rows[number]), score, None, probability, useful)
                )
        return found

    def _merges(self) -> dict[tuple[int, int], _Candidate]:
        """Pairs of people who look like one, by number: the likelier, the more useful."""
        means = np.add.reduceat(self.vectors, self.starts[:-1], axis=0)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
        self.means = means
        barred = self._never_one()
        for number, people in enumerate(barred):
            people.add(number)
        found: dict[tuple[int, int], _Candidate] = {}
        for number, nearest in enumerate(nearest_people(means, self.vectors, self.starts, barred, _PEOPLE)):
            for other, forth in nearest:
                pair = (min(number, other), max(number, other))
                if forth < self.floor or pair in found:
                    continue
                # both ways: an item under a wrong name makes its person look like the right one, but not back
                score = min(forth, float((self._of(number) @ means[other]).max()))
                probability = self._probability(score)
                if score >= self.floor and probability >= _LOWEST:
                    found[pair] = _Candidate("merge", *pair, score, None, probability, probability)
        return found

    def _of(self, person: int) -> np.ndarray:
        """float32 [n,D] of a person's items."""
        return self.vectors[self.starts[person] : self.starts[person + 1]]

    def _never_one(self) -> list[set[int]]:
        """For each person the others who cannot be the same one, by what was said."""
        never: list[set[int]] = [set() for _ in self.names]
        pairs = [(self.numbers.get(one), self.numbers.get(other)) for one, other in self.said.different]
        for row, seq in enumerate(self.seqs.tolist()):
            for name in self.said.denied.get(seq, ()):
                pairs.append((int(self.persons[row]), self.numbers.get(name)))
        for one, other in pairs:
            if one is not None and other is not None:
                never[one].add(other)
                never[other].add(one)
        return never

    def _misnamed(self, merges: Mapping[tuple[int, int], _Candidate]) -> list[_Candidate]:
        """Items that look more like another person than like the one whose name they bear: the likelier, the
        more useful. Where it is likelier that the two people are one altogether, that is asked instead."""
        sizes = np.diff(self.starts)
        rows = np.flatnonzero(sizes[self.persons] > 1) if len(self.seqs) else np.empty(0, np.int64)
        barred = []
        for row in rows.tolist():
            denied = self.said.denied.get(int(self.seqs[row]), ())
            people = {self.numbers[name] for name in denied if name in self.numbers}
            barred.append({int(self.persons[row]), *people})
        scores, others = nearest_others(self.vectors[rows], self.vectors, self.starts, barred)
        own = own_scores(self.vectors, self.starts)[rows]
        found = []
        for place in np.flatnonzero((scores >= self.floor) & (scores > own)).tolist():
            row, other, score = int(rows[place]), int(others[place]), float(scores[place])
            pair = sorted((int(self.persons[row]), int(self.persons[other])))
            # three answers are possible: the other person, the one whose name it bears, and neither
            odds, own_odds = math.exp(self._logit(score)), math.exp(self._logit(float(own[place])))
            probability = odds / (1 + odds + own_odds)
            merge = merges.get((pair[0], pair[1]))
            if probability >= _LOWEST and (merge is None or merge.probability < probability):
                found.append(
                    _Candidate("misnamed", row, other, score, float(own[place]), probability, probability)
                )
        return found

    def _logit(self, score: float) -> float:
        return min(max(self.slope * score + self.intercept, -50.0), 50.0)

    def _probability(self, score: float) -> float:
        return 1 / (1 + math.exp(-self._logit(score)))

    def _doubt(self, found: _Candidate) -> Doubt:
        """A case with its evidence."""
        if found.kind == "merge":
            return self._doubt_of_two(found)
        if found.kind == "unnamed":
            unit = np.array(self.units[found.asked])
            seqs, name, asked = self.unnamed.seqs[unit], None, self.unit_vectors[found.asked]
            shown = seqs[_best(self.unnamed.vectors[unit], self.vectors[found.other])]
        else:
            seqs, name = self.seqs[[found.asked]], self.names[int(self.persons[found.asked])]
            shown, asked = seqs, self.vectors[found.asked]
        one = Side(name, len(seqs), tuple(seqs.tolist()), tuple(shown.tolist()))
        return self._made(found, one, self._person(int(self.persons[found.other]), asked))

    def _doubt_of_two(self, found: _Candidate) -> Doubt:
        """A case of two people. The one with fewer items, of two as large the later one, would get the name
        of the other."""
        one = self._person(found.other, self.means[found.asked])
        other = self._person(found.asked, self.means[found.other])
        return self._made(found, *((other, one) if one.items > other.items else (one, other)))

    def _person(self, number: int, asked: np.ndarray) -> Side:
        """A person as a side, with the items that are most like what is asked about."""
        seqs = self.seqs[self.starts[number] : self.starts[number + 1]]
        shown = seqs[_best(self._of(number), asked)]
        return Side(self.names[number], len(seqs), (), tuple(shown.tolist()))

    def _made(self, found: _Candidate, one: Side, other: Side) -> Doubt:
        own = round(found.own, SCORE_DIGITS) if found.own is not None else None
        probability = round(found.probability, 4) if self.means_something else None
        score = round(found.score, SCORE_DIGITS)
        return Doubt(found.kind, one, other, score, own, probability, found.useful)


def _best(vectors: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Rows of the vectors that are most like one, best first, as many as are shown."""
    return np.argsort(-(vectors @ asked), kind="stable")[:EVIDENCE]


def _entropy(probability: float) -> float:
    """In bits: 1 where it is undecided, 0 where it is certain."""
    parts = (probability, 1 - probability)
    return -sum(part * math.log2(part) for part in parts if part > 0)


def meaning_of(state: SiteState) -> tuple[float, float, bool]:
    """Slope and intercept of the probability of a score, and whether they are of the live space."""
    known = state.version.calibration
    if known is None:
        return *_GUESS, False
    report = report_of(known, len(state.index))
    return report.slope, report.intercept, calibration_of(state.version) is not None
