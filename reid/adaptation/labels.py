"""How much a change of the embeddings helps at a site whose items carry identities: the best evidence."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from reid.adaptation.sampling import camera_numbers

FEWEST_IDENTITIES = 16  # seen by two cameras, for labels to decide
_ROUNDS = 500  # of the bootstrap


@dataclasses.dataclass(frozen=True)
class LabelledGain:
    """mAP and rank-1, shares, of crops that look for their person at other cameras, before and after.

    Args:
        low, high: 90 % bootstrap interval, over identities, of the change of mAP.
    """

    identities: int
    queries: int
    before: tuple[float, float]
    after: tuple[float, float]
    low: float
    high: float

    @property
    def gain(self) -> float:
        """Change of mAP."""
        return self.after[0] - self.before[0]


def people_across(identities: Sequence[str | None], cameras: Sequence[str | None]) -> int:
    """How many identities were seen by two cameras or more."""
    places: dict[str, set[str]] = defaultdict(set)
    for identity, camera in zip(identities, cameras, strict=True):
        if identity and camera:
            places[identity].add(camera)
    return sum(len(seen) > 1 for seen in places.values())


def labelled_gain(
    before: np.ndarray,
    after: np.ndarray,
    identities: Sequence[str | None],
    cameras: Sequence[str | None],
    seed: int = 0,
) -> LabelledGain | None:
    """Judges by labels; None where fewer than FEWEST_IDENTITIES identities were seen by two cameras.

    Args:
        before, after: float32 [N,D], unit length, the same crops as two spaces compare them.
        identities, cameras: of each; crops without either are only there to be confused with.
    """
    if people_across(identities, cameras) < FEWEST_IDENTITIES:
        return None
    _, persons = np.unique([identity or "" for identity in identities], return_inverse=True)
    places = camera_numbers(cameras)
    known = np.array(
        [bool(identity) and bool(camera) for identity, camera in zip(identities, cameras, strict=True)]
    )
    queries = []
    for row in np.flatnonzero(known):
        if (known & (persons == persons[row]) & (places != places[row])).any():
            queries.append(row)
    rows = np.array(queries)
    people = np.unique(persons[rows])
    first = _average_precisions(before, rows, persons, places, known)
    second = _average_precisions(after, rows, persons, places, known)
    rng = np.random.default_rng(seed)
    of_person = [np.flatnonzero(persons[rows] == person) for person in people]
    difference = second[:, 0] - first[:, 0]
    sums = np.array([difference[index].sum() for index in of_person])
    counts = np.array([len(index) for index in of_person])
    drawn = rng.integers(0, len(people), (_ROUNDS, len(people)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), (5, 95))
    before_mean, after_mean = first.mean(0), second.mean(0)
    return LabelledGain(
        len(people),
        len(rows),
        (float(before_mean[0]), float(before_mean[1])),
        (float(after_mean[0]), float(after_mean[1])),
        float(low),
        float(high),
    )


def _average_precisions(
    vectors: np.ndarray, queries: np.ndarray, persons: np.ndarray, places: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """float64 [Q,2]: average precision, and whether the first match is right, among crops of other
    cameras."""
    results = np.empty((len(queries), 2))
    for number, row in enumerate(queries):
        ranked = np.flatnonzero(places != places[row])
        order = ranked[np.argsort(-(vectors[ranked] @ vectors[row]), kind="stable")]
        right = (persons[order] == persons[row]) & known[order]
        places_of_right = np.flatnonzero(right) + 1
        results[number] = (
            (np.arange(1, len(places_of_right) + 1) / places_of_right).mean(),
            float(right[0]),
        )
    return results
