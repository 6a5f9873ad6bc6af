"""Vectors of crops, for callers who compare or keep them by themselves; nothing is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from server.batching import EmbedError
from server.embedding import Embedding
from server.errors import BadRequest, TooLarge, Unprocessable
from server.settings import Settings
from server.sites import Sites


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Vectors of one version of a site: float32 [N,D], unit length, as embedded, before a camera's centre is
    subtracted. Only vectors of the same raw space can be compared."""

    site: str
    version: int
    raw_space_id: str
    vectors: np.ndarray

    @property
    def dim(self) -> int:
        """D."""
        return int(self.vectors.shape[1])


class Vectoring:
    """The use case. Raises `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(self, settings: Settings, sites: Sites, embedding: Embedding) -> None:
        self.settings, self.sites, self.embedding = settings, sites, embedding

    async def embed(self, site_name: str, images: Sequence[bytes], cameras: Sequence[str | None]) -> Vectors:
        """Embeds crops as the site's live profile does, by the camera of each; None: the site's own values.

        All of them, or the first problem is raised.
        """
        if not images:
            raise BadRequest("no images: send at least one")
        most = self.settings.max_tracklet
        if len(images) > most:
            raise TooLarge(f"{len(images)} images to embed in one request; at most {most} are accepted")
        if len(cameras) != len(images):
            raise BadRequest(
                f"{len(images)} images but {len(cameras)} cameras; send one camera an image, in the same "
                f"order"
            )
        version = self.sites.get(site_name).state.version  # taken once: every vector is of this version
        self.embedding.admit(version.profile_id, len(images))
        crops, _ = await self.embedding.decode(images)
        try:
            vectors = await self.embedding.embed(version.profile_id, crops, cameras, "interactive")
        except EmbedError as error:
            row, why = next(iter(error.rows.items()))
            raise Unprocessable(f"image {row}: {why}", index=row) from error
        return Vectors(site_name, version.version, version.raw_space_id, vectors)
