"""Open-set identification: how often unknown people raise a match, and what a threshold against it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from reid.pids import JUNK

_BLOCK = 512  # queries whose scores are in memory at once


class Trial(NamedTuple):
    """The best match of every query, with half of the people not enrolled."""

    pids: np.ndarray  # int [Q]
    best: np.ndarray  # float [Q], the score
    right: np.ndarray  # bool [Q], whether it is the same person
    unknown: np.ndarray  # bool [Q], whether the person is not enrolled
    known: np.ndarray  # bool [Q], whether the person is enrolled under a camera that counts


class Rate(NamedTuple):
    """What keeping a false positive identification rate costs."""

    threshold: float  # only scores above it count
    missed: float  # false negative identification rate, 0 to 1


def open_set_trial(
    query: np.ndarray,
    gallery: np.ndarray,
    query_pids: np.ndarray,
    gallery_pids: np.ndarray,
    query_cams: np.ndarray,
    gallery_cams: np.ndarray,
    ignore_camera: bool = False,
    seed: int = 0,
) -> Trial:
    """Removes half of the queries' identities, chosen by the seed, from the gallery.

    Their queries should then match nobody.

    Args:
        query, gallery: float32 unit embeddings [Q,D] and [G,D].
        *_pids, *_cams: integers [Q] and [G], as for ranking.

    Raises ValueError where either half has no query.
    """
    people = np.random.default_rng(seed).permutation(np.unique(query_pids))
    strangers = people[: len(people) // 2]
    enrolled = ~np.isin(gallery_pids, strangers) & (gallery_pids != JUNK)
    gallery, gallery_pids, gallery_cams = gallery[enrolled], gallery_pids[enrolled], gallery_cams[enrolled]
    best = np.full(len(query), -np.inf)
    right, mated = np.zeros(len(query), bool), np.zeros(len(query), bool)
    for start in range(0, len(query) if len(gallery) else 0, _BLOCK):
        rows = slice(start, start + _BLOCK)
        scores = query[rows] @ gallery.T
        same = query_pids[rows, None] == gallery_pids
        if not ignore_camera:
            dropped = same & (query_cams[rows, None] == gallery_cams)
            scores[dropped] = -np.inf
            same &= ~dropped
        first = scores.argmax(1)[:, None]
        best[rows] = np.take_along_axis(scores, first, 1)[:, 0]
        right[rows] = np.take_along_axis(same, first, 1)[:, 0]
        mated[rows] = same.any(1)
    unknown = np.isin(query_pids, strangers)
    known = ~unknown & mated
    if not unknown.any() or not known.any():
        raise ValueError("open-set rates need queries of at least two identities with matches in the gallery")
    return Trial(query_pids, best, right, unknown, known)


def open_set_rates(trial: Trial, rates: Sequence[float] = (0.01, 0.1)) -> Mapping[float, Rate]:
    """False negative identification rate at each false positive identification rate (ISO/IEC 19795-1).

    Rank 1 only. The threshold is the lowest at which at most the given share of the unknown people's queries
    has a match above it. A query of a known person is missed unless its best match is right and above it.
    """
    alarms = np.sort(trial.best[trial.unknown])[::-1]
    costs = {}
    for rate in rates:
        allowed = int(rate * len(alarms))
        threshold = float(alarms[allowed]) if allowed < len(alarms) else -np.inf
        identified = trial.right & (trial.best > threshold)
        costs[rate] = Rate(threshold, float(1 - identified[trial.known].mean()))
    return costs
