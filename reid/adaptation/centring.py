"""Tier 0: the mean embedding of each camera, subtracted before embeddings are compared. No torch, no images.

Cameras move all their embeddings in a direction of their own (colours, angle, sharpness); the mean over many
people is an estimate of that ("Mitigating camera bias in person re-identification", ICLR 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid.adaptation.sampling import FEWEST_OF_CAMERA, rows_by_camera
from reid.profile import Centres

PRIOR = 64  # crops that the site's mean counts as, in a camera's centre; see docs/adaptation.md


class CentreSums:
    """Sums of embeddings by camera, for galleries that are read in chunks."""

    def __init__(self) -> None:
        self.sums: dict[str | None, np.ndarray] = {}  # float64 [D]
        self.counts: dict[str | None, int] = {}

    def add(self, vectors: np.ndarray, cameras: Sequence[str | None]) -> None:
        """float [N,D], unit length, as embedded, and the camera of each. Raises ValueError where their
        numbers differ."""
        if len(vectors) != len(cameras):
            raise ValueError(f"{len(vectors)} embeddings with {len(cameras)} cameras")
        for camera, rows in rows_by_camera(cameras).items():
            self.sums[camera] = self.sums.get(camera, 0) + vectors[rows].sum(0, dtype=np.float64)
            self.counts[camera] = self.counts.get(camera, 0) + len(rows)

    def centres(self, prior: float = PRIOR) -> Centres:
        """The centre of the site, and of each camera with at least FEWEST_OF_CAMERA embeddings: its mean,
        shrunk to the site's by n / (n + prior).

        Raises ValueError where nothing was added.
        """
        total = sum(self.counts.values())
        if not total:
            raise ValueError("no embeddings to take a mean of")
        site = sum(self.sums.values()) / total
        cameras = {}
        for camera, count in self.counts.items():
            if camera is not None and count >= FEWEST_OF_CAMERA:
                share = count / (count + prior)
                mean = self.sums[camera] / count
                cameras[camera] = (share * mean + (1 - share) * site).astype(np.float32)
        return Centres(np.asarray(site, np.float32), cameras)


def fit_centres(vectors: np.ndarray, cameras: Sequence[str | None], prior: float = PRIOR) -> Centres:
    """float [N,D], unit length, as embedded, and the camera of each -> centres; see CentreSums."""
    sums = CentreSums()
    sums.add(vectors, cameras)
    return sums.centres(prior)
