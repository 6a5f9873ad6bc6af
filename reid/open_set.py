"""Whether a match is the right person at all: how often people who were never enrolled raise one, and what
refusing them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from reid.ranking import JUNK

_BLOCK = 512  # queries whose scores are in memory at once


class Trial(NamedTuple):
    """The best match of every query, with half of the people not enrolled."""

    pids: np.ndarray  # int [Q]
    best: np.ndarray  # float [Q], the score
    right: np.ndarray  # bool [Q], it is the same person
    unknown: np.ndarray  # bool [Q], the person is not enrolled
    known: np.ndarray  # bool [Q], the person is enrolled and could be found


class Rate(NamedTuple):
    """What a false positive identification rate costs."""

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
    """Takes half of the queries' identities, chosen by the seed, out of the gallery: their queries should
    match nobody.

    Args:
        query, gallery: float32 unit embeddings [Q,D] and [G,D]. *_pids, *_cams: integers [Q] and [G], as for
        ranking.

    Raises ValueError where either half has no query.
    """
    people = np.random.default_rng(seed).permutation(np.unique(query_pids))
    strangers = people[: len(people) // 2]
    there = ~np.isin(gallery_pids, strangers) & (gallery_pids != JUNK)
    gallery, gallery_pids, gallery_cams = gallery[there], gallery_pids[there], gallery_cams[there]
    best, right, mated = np.full(len(query), -np.inf), np.zeros(len(query), bool), np.zeros(len(query), bool)
    for start in range(0, len(query) if len(gallery) else 0, _BLOCK):
        own = slice(start, start + _BLOCK)
        scores = query[own] @ gallery.T
        same = query_pids[own, None] == gallery_pids
        if not ignore_camera:
            dropped = same & (query_cams[own, None] == gallery_cams)
            scores[dropped], same = -np.inf, same & ~dropped
        first = scores.argmax(1)[:, None]
        best[own] = np.take_along_axis(scores, first, 1)[:, 0]
        right[own], mated[own] = np.take_along_axis(same, first, 1)[:, 0], same.any(1)
    unknown = np.isin(query_pids, strangers)
    known = ~unknown & mated
    if not unknown.any() or not known.any():
        raise ValueError("open-set rates need queries of at least two identities with matches in the gallery")
    return Trial(query_pids, best, right, unknown, known)


def open_set_rates(trial: Trial, rates: Sequence[float] = (0.01, 0.1)) -> Mapping[float, Rate]:
    """False negative identification rate at each false positive identification rate (ISO/IEC 19795-1, rank
    1).

    The threshold is the lowest at which at most the given share of the unknown people's queries still has a
    match above it; a query of a known person is missed unless its best match is right and above the
    threshold.
    """
    alarms = np.sort(trial.best[trial.unknown])[::-1]
    found = {}
    for rate in rates:
        allowed = int(rate * len(alarms))
        threshold = float(alarms[allowed]) if allowed < len(alarms) else -np.inf
        found[rate] = Rate(threshold, float(1 - (trial.right & (trial.best > threshold))[trial.known].mean()))
    return found
