"""What embeds with one profile: an engine of its own, or a place in the shared one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import numpy as np

from reid.engines.rows import pack
from reid.profile import Profile, composed
from server.batching import Batcher, Lane


@dataclasses.dataclass(frozen=True)
class PackedTables:
    """The tables of a profile as the shared engine reads them: float32 [2,C] of the site, and of cameras by
    composed names."""

    site: np.ndarray
    cameras: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, profile: Profile, layers: Sequence[str]) -> PackedTables:
        """Packs every table. Raises ProfileError for a profile of another model."""
        cameras = {camera: pack(profile, layers, camera) for camera in profile.by_name}
        return cls(pack(profile, layers), cameras)

    def of_camera(self, camera: str | None) -> np.ndarray:
        """The table for a camera; the site's where the camera is unknown or has none of its own."""
        return self.cameras.get(composed(camera), self.site) if camera is not None else self.site

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return self.site.nbytes * (1 + len(self.cameras))


@dataclasses.dataclass(frozen=True)
class ProfileEngine:
    """A batcher, and the tables of the profile where the batcher is the one that profiles share.

    Args:
        packed: None for a folded engine, which has one table for all cameras.
    """

    batcher: Batcher
    packed: PackedTables | None = None

    def submit(
        self, crops: np.ndarray, cameras: Sequence[str | None], lane: Lane = "interactive"
    ) -> Future[np.ndarray]:
        """See Batcher.submit.

        Args:
            cameras: of each crop.
        """
        if len(cameras) != len(crops):
            raise ValueError(f"{len(crops)} crops with {len(cameras)} cameras")
        if self.packed is None:
            return self.batcher.submit(crops, lane)
        return self.batcher.submit(crops, lane, [self.packed.of_camera(camera) for camera in cameras])
