"""What an adaptation looked at, camera by camera: how many people, and how alike cameras are. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from reid.adaptation.people import person_weights
from reid.adaptation.sampling import rows_by_camera

MOST_CAMERAS = 24  # that are compared with each other: those with the most crops


@dataclasses.dataclass(frozen=True)
class Overview:
    """Crops of a site before and after what was tried.

    Args:
        people: by camera, about how many different people its crops show; crops without a camera under "".
        cameras: [C] names, in the order of rows and columns.
        before, after: float64 [C,C], the mean cosine similarity of crops of two cameras, a crop with itself
            left out. Cameras that differ only in who walks by have even values.
    """

    people: dict[str, float]
    cameras: list[str]
    before: np.ndarray
    after: np.ndarray


def overview(
    embedded: np.ndarray, before: np.ndarray, after: np.ndarray, cameras: Sequence[str | None]
) -> Overview | None:
    """Looks at crops by camera; None where embeddings are not finite.

    Args:
        embedded: float32 [N,D], unit length, with the bundle's own values, which tell people apart.
        before, after: float32 [N,D], unit length, the same crops as two spaces compare them.
    """
    if not np.isfinite(after).all():
        return None
    rows = {camera or "": numbers for camera, numbers in rows_by_camera(cameras).items()}
    people = {camera: float(person_weights(embedded[numbers]).sum()) for camera, numbers in rows.items()}
    ranked = sorted(rows, key=lambda camera: (-len(rows[camera]), camera))
    kept = sorted(camera for camera in ranked[:MOST_CAMERAS] if len(rows[camera]) > 1)
    chosen = [rows[camera] for camera in kept]
    return Overview(people, kept, _similarity(before, chosen), _similarity(after, chosen))


def _similarity(vectors: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """float64 [G,G]: the mean over pairs is the product of means, less each crop with itself."""
    if not groups:
        return np.empty((0, 0))
    means = np.stack([vectors[rows].mean(0, dtype=np.float64) for rows in groups])
    similar = means @ means.T
    for number, rows in enumerate(groups):
        count = len(rows)
        squares = (vectors[rows].astype(np.float64) ** 2).sum()
        similar[number, number] = (count**2 * similar[number, number] - squares) / (count * (count - 1))
    return np.asarray(similar)
