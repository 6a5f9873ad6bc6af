"""Tier 0: the mean embedding of each camera, subtracted before embeddings are compared. No torch, no images.

Cameras move all their embeddings in a direction of their own (colours, angle, sharpness); the mean over many
people is an estimate of that ("Mitigating camera bias in person re-identification", ICLR 2025). Each person
counts once in it (`people.py`), and the fewer people there are, the less is subtracted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reid.adaptation.people import person_weights
from reid.adaptation.sampling import FEWEST_OF_CAMERA, rows_by_camera
from reid.profile import Centres

PRIOR = 64  # people that the site's mean counts as, in a camera's centre; see docs/adaptation.md
SITE_PRIOR = 16  # people that zero counts as, in the site's centre
MOST_OF_CAMERA = 512  # embeddings that a camera's mean is taken of: the work grows with their square


def fit_centres(
    vectors: np.ndarray,
    cameras: Sequence[str | None],
    counts: Mapping[str | None, int] | None = None,
    prior: float = PRIOR,
    site_prior: float = SITE_PRIOR,
) -> Centres:
    """The centre of the site, and of each camera with at least FEWEST_OF_CAMERA embeddings.

    A camera's centre is the mean of its embeddings, each person counting once, shrunk to the site's by
    p / (p + prior), where p is how many different people it has seen. The site's is the mean over all people,
    shrunk to zero, which subtracts nothing, by P / (P + site_prior).

    Args:
        vectors: float [N,D], unit length, as embedded. Of a camera with more than MOST_OF_CAMERA, that many
            are used. cameras: of each. counts: how many embeddings each camera has, where `vectors` are only
            some of them.

    Raises ValueError where there is no embedding, or not one camera for each.
    """
    if len(vectors) != len(cameras):
        raise ValueError(f"{len(vectors)} embeddings with {len(cameras)} cameras")
    if not len(vectors):
        raise ValueError("no embeddings to take a mean of")
    means: dict[str | None, np.ndarray] = {}  # float64 [D]
    people: dict[str | None, float] = {}
    total: dict[str | None, int] = {}
    for camera, rows in rows_by_camera(cameras).items():
        total[camera] = len(rows) if counts is None else counts[camera]
        some = vectors[evenly(rows, MOST_OF_CAMERA)]
        weights = person_weights(some)
        means[camera] = weights @ some / weights.sum()
        people[camera] = weights.sum() / len(some) * total[camera]
    seen = sum(people.values())
    site = sum(people[camera] * means[camera] for camera in means) / seen * (seen / (seen + site_prior))
    centres = {}
    for camera, mean in means.items():
        if camera is not None and total[camera] >= FEWEST_OF_CAMERA:
            share = people[camera] / (people[camera] + prior)
            centres[camera] = (share * mean + (1 - share) * site).astype(np.float32)
    return Centres(np.asarray(site, np.float32), centres)


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of some rows, at equal distances from first to last."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
