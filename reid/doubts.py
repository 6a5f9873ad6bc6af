"""Which people crops look most like, kept from one gallery to the next. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Hashable, Sequence

import numpy as np

_BLOCK = 512  # queries whose cosines are in memory at once
NOBODY = -1


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Crops by person, those of one person beside each other.

    Args:
        people: names [P]. marks: of each person what tells these crops from others, as they are compared;
            people who stay as they are keep their order.
        starts: int64 [P+1], the first row of each person, and N. vectors: float32 [N,D], unit length.
    """

    people: Sequence[str]
    marks: Sequence[Hashable]
    starts: np.ndarray
    vectors: np.ndarray

    def of(self, person: int) -> np.ndarray:
        """float32 [n,D] of one person."""
        return self.vectors[self.starts[person] : self.starts[person + 1]]


@dataclasses.dataclass(frozen=True)
class Queries:
    """What is compared with a gallery.

    Args:
        marks: of each query what tells it from others, as it is compared. vectors: float32 [Q,D].
        barred: for each query the names of people who do not count.
    """

    marks: Sequence[Hashable]
    vectors: np.ndarray
    barred: Sequence[Collection[str]]


class NearestPeople:
    """The people whom each query looks most like, by the cosine of their most similar crop.

    What was found in the gallery before is kept, without vectors: only what has changed since is compared.

    Args:
        most: people for each query.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.known: dict[Hashable, tuple[int, Collection[str]]] = {}  # by mark: a row, and who was barred
        self.marks: dict[str, tuple[int, Hashable]] = {}  # by name: a number, and the mark
        self.people = np.empty((0, most), np.int64)
        self.scores = np.empty((0, most), np.float32)

    def find(self, queries: Queries, gallery: Gallery) -> tuple[np.ndarray, np.ndarray]:
        """(int64 [Q,most], float32 [Q,most]): people by number and cosines, best first; NOBODY and -inf stand
        behind the last one who is not barred."""
        rows = [self._row(mark, out) for mark, out in zip(queries.marks, queries.barred, strict=True)]
        before = np.array(rows, np.int64)
        numbers, fresh = self._renumbered(gallery)
        people = np.full((len(before), self.most), NOBODY, np.int64)
        scores = np.full((len(before), self.most), -np.inf, np.float32)
        asked = np.flatnonzero(before >= 0)
        if 2 * np.diff(gallery.starts)[fresh].sum() >= len(gallery.vectors):
            asked = asked[:0]  # as much work as to begin anew
        if len(asked):
            people[asked], scores[asked], sure = self._changed(
                queries, gallery, asked, before[asked], numbers, fresh
            )
            before[asked[~sure]] = NOBODY
        else:
            before[:] = NOBODY
        anew = np.flatnonzero(before < 0)
        if len(anew):
            people[anew], scores[anew] = _best_among(
                queries, gallery, anew, np.arange(len(gallery.people)), self.most
            )
        self.known = {
            mark: (row, out)
            for row, (mark, out) in enumerate(zip(queries.marks, queries.barred, strict=True))
        }
        self.marks = {
            name: (number, mark)
            for number, (name, mark) in enumerate(zip(gallery.people, gallery.marks, strict=True))
        }
        self.people, self.scores = people, scores
        return people, scores

    def _row(self, mark: Hashable, barred: Collection[str]) -> int:
        """Where a query stood the last time, if the same people were barred."""
        row, out = self.known.get(mark, (NOBODY, barred))
        return row if out == barred else NOBODY

    def _renumbered(self, gallery: Gallery) -> tuple[np.ndarray, np.ndarray]:
        """int64 of each person of the last gallery: the number now, or NOBODY who has other crops or none;
        int64 numbers of people who were not there with these crops."""
        numbers, fresh = np.full(len(self.marks) + 1, NOBODY, np.int64), []
        for number, (name, mark) in enumerate(zip(gallery.people, gallery.marks, strict=True)):
            earlier = self.marks.get(name)
            if earlier is not None and earlier[1] == mark:
                numbers[earlier[0]] = number
            else:
                fresh.append(number)
        return numbers, np.array(fresh, np.int64)

    def _changed(
        self,
        queries: Queries,
        gallery: Gallery,
        asked: np.ndarray,
        before: np.ndarray,
        numbers: np.ndarray,
        fresh: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same for queries of the last time, and bool [n], of which of them it is sure.

        Of who is not fresh and was not found, none scores above the worst who was found: so where somebody
        found is there no more, what is left is sure as far as it scores above that.
        """
        kept, scores = numbers[self.people[before]], self.scores[before].copy()  # numbers[-1] is NOBODY
        worst = scores[:, -1].copy()
        lost = ((kept < 0) & np.isfinite(scores)).any(axis=1)
        scores[kept < 0] = -np.inf
        new, new_scores = _best_among(queries, gallery, asked, fresh, self.most)
        people, best = _best_of(
            np.concatenate([kept, new], axis=1), np.concatenate([scores, new_scores], axis=1), self.most
        )
        return people, best, ~lost | np.isneginf(worst) | (best[:, -1] > worst)


def _best_among(
    queries: Queries, gallery: Gallery, rows: np.ndarray, among: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """(int64 [n,most], float32 [n,most]) of some queries, as `find` returns them, among some people.

    Args:
        rows: of the queries. among: int64 numbers of people, ascending.
    """
    people = np.full((len(rows), most), NOBODY, np.int64)
    best = np.full((len(rows), most), -np.inf, np.float32)
    if not len(among):
        return people, best
    sizes = np.diff(gallery.starts)[among]
    if len(among) == len(gallery.people):
        vectors = gallery.vectors
    else:
        vectors = np.concatenate([gallery.of(person) for person in among.tolist()])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    places = {gallery.people[person]: place for place, person in enumerate(among.tolist())}
    count = min(most, len(among))
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        scores = np.maximum.reduceat(queries.vectors[block] @ vectors.T, starts, axis=1)  # [B,A]
        for line, row in zip(scores, block.tolist(), strict=True):
            out = [places[name] for name in queries.barred[row] if name in places]
            if out:
                line[out] = -np.inf
        if most == 1:
            nearest = scores.argmax(axis=1)[:, None]
        else:
            nearest = np.sort(np.argpartition(-scores, count - 1, axis=1)[:, :count], axis=1)
        values = np.take_along_axis(scores, nearest, 1)
        block_rows = slice(start, start + len(block))
        people[block_rows, :count], best[block_rows, :count] = _best_of(among[nearest], values, count)
    people[np.isneginf(best)] = NOBODY
    return people, best


def _best_of(people: np.ndarray, scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Of people [n,k] and their scores the best [n,most], of equal scores the first person."""
    order = np.lexsort((people, -scores), axis=1)[:, :most]
    return np.take_along_axis(people, order, 1), np.take_along_axis(scores, order, 1)


class OwnScores:
    """Of each crop the cosine with the most similar other crop of its person, kept by person."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, Hashable], np.ndarray] = {}

    def find(self, gallery: Gallery) -> np.ndarray:
        """float32 [N]; -inf for a crop that is the only one of its person."""
        kept: dict[tuple[str, Hashable], np.ndarray] = {}
        for number, person in enumerate(zip(gallery.people, gallery.marks, strict=True)):
            known = self.kept.get(person)
            kept[person] = _own_scores(gallery.of(number)) if known is None else known
        self.kept = kept
        return np.concatenate([np.empty(0, np.float32), *kept.values()])


def _own_scores(vectors: np.ndarray) -> np.ndarray:
    """float32 [n] of one person's crops."""
    best = np.full(len(vectors), -np.inf, np.float32)
    for start in range(0, len(vectors), _BLOCK):
        scores = vectors[start : start + _BLOCK] @ vectors.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf  # itself
        best[start : start + _BLOCK] = scores.max(axis=1)
    return best
