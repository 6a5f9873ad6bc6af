"""How often somebody who is not enrolled finds a match above a threshold, in a gallery of any size.

Of each query the scores of the best few wrong people are looked at. Beyond the last of them, the query's
level, scores are taken to fall off like a generalised Pareto tail (Pickands 1975), of one shape and scale for
all queries; so the best of N people is above a threshold with a probability that N moves. The shape is fixed:
fitted to a site's few people it is mostly noise. The scale is the one by which the form says at the size of
the labelled gallery what was seen there, at a rate that five people make.

The forms that were compared, and what this one predicts: docs/answers.md.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

SHAPE = -0.1  # of the tail: cosines end at 1
PEOPLE_ABOVE = 5  # a query's level is the score of its fifth-best wrong person
_ANCHOR = 5  # the scale is fitted where so many of the labelled people raise a false alarm
_LEVELS = 32  # quantiles that stand for the levels of all queries
_FARTHEST = 20  # times beyond the anchor is as far as the form was seen to hold
_ROUNDS = 50  # of bisection
_BLOCK = 512  # queries whose scores are in memory at once


class FalseAlarms(NamedTuple):
    """The tail of wrong scores of one site in one space.

    Args:
        people: how many others each query was compared with. levels: 32 quantiles, over the queries, of the
            score of the fifth-best of these. scale: of the tail above them.
    """

    people: int
    levels: tuple[float, ...]
    scale: float

    def rate(self, threshold: float, people: int) -> float:
        """The share of queries of unknown people that score above a threshold among so many people."""
        beyond = (threshold - np.array(self.levels)) / self.scale
        share = np.maximum(1 + SHAPE * np.maximum(beyond, 0), 0) ** (-1 / SHAPE)
        below = np.exp(-people * share * PEOPLE_ABOVE / self.people)  # of queries: nobody is above it
        return float((1 - np.where(beyond < 0, 0, below)).mean())

    def threshold(self, rate: float, people: int) -> float:
        """The lowest score above which at most this share of such queries scores."""
        return _threshold(self, rate, people)

    def reaches(self, rate: float, people: int) -> bool:
        """Whether enough people were compared to say what a rate needs."""
        return self.people + 1 >= people_needed(rate, people)


def people_needed(rate: float, people: int) -> int:
    """How many people have to be labelled to say which threshold keeps a rate among so many people.

    The form is trusted for scores that are up to twenty times as rare as those at its anchor.
    """
    return math.ceil(math.sqrt(_ANCHOR * people / (_FARTHEST * rate)))


@functools.lru_cache(maxsize=4096)
def _threshold(alarms: FalseAlarms, rate: float, people: int) -> float:
    low, high = -1.0, max(alarms.levels) - alarms.scale / SHAPE  # nothing scores above the tail's end
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        if alarms.rate(middle, people) > rate:
            low = middle
        else:
            high = middle
    return high


def fit_false_alarms(wrong: np.ndarray, people: int) -> FalseAlarms:
    """The tail of wrong scores among labelled people, each of whose crops is a query of somebody who is not
    enrolled, once its person is left out.

    Args:
        wrong: float [Q,5], the scores of the five best wrong people of each query, falling. people: how many
            others each query was compared with.

    Raises ValueError where there are too few people, or where all wrong scores are equal.
    """
    if people <= PEOPLE_ABOVE:
        raise ValueError(f"{people + 1} people say nothing of rare false alarms")
    first, level = wrong[:, 0], wrong[:, PEOPLE_ABOVE - 1]
    places = (np.arange(_LEVELS) + 0.5) / _LEVELS
    levels = tuple(np.quantile(level, places).tolist())
    anchor = min(0.3, _ANCHOR / people)
    seen = float(np.quantile(first, 1 - anchor))
    if seen <= min(levels):
        raise ValueError("all wrong scores are equal, so they have no tail")
    return FalseAlarms(people, levels, _scale(people, levels, anchor, seen))


def _scale(people: int, levels: tuple[float, ...], rate: float, threshold: float) -> float:
    """The scale by which a threshold has this rate among the labelled people."""
    low, high = 1e-6, 2.0
    for _ in range(_ROUNDS):
        middle = math.sqrt(low * high)
        if FalseAlarms(people, levels, middle).rate(threshold, people) > rate:
            high = middle
        else:
            low = middle
    return high


def best_wrong_scores(vectors: np.ndarray, persons: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """float32 [Q,5]: of each query the scores of the five best other people, each by its best crop, falling.

    Args:
        vectors: float32 [N,D], unit length, as they are compared. persons: int [N], a number for each person,
            of whom there are six at least. queries: int [Q], their rows.
    """
    order = np.argsort(persons, kind="stable")
    gallery, sorted_persons = vectors[order], persons[order]
    names, starts = np.unique(sorted_persons, return_index=True)
    best = np.empty((len(queries), PEOPLE_ABOVE), np.float32)
    for start in range(0, len(queries), _BLOCK):
        rows = queries[start : start + _BLOCK]
        of_person = np.maximum.reduceat(vectors[rows] @ gallery.T, starts, axis=1)  # [B,P]
        of_person[persons[rows, None] == names] = -np.inf
        nearest = np.partition(-of_person, PEOPLE_ABOVE - 1, axis=1)[:, :PEOPLE_ABOVE]
        best[start : start + _BLOCK] = -np.sort(nearest, axis=1)
    return best
