"""Re-embedding a gallery beside the live one, and the swap: the moment in which a site gets another
profile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from reid.images import ImageError, Limits, decode_crop
from server.batching import Batcher
from server.engines import Engines
from server.errors import Conflict
from server.gallery.records import Version
from server.gallery.store import Store
from server.sites import Site, Sites, SiteState

CHUNK = 64
# What was accepted once is decoded again, whatever the limits say today.
STORED = Limits(max_bytes=2**31, max_pixels=2**31, min_side=1, max_aspect=2.0**31)

Progress = Callable[[float], None]


class Rebuild:
    """Puts a site on another profile. Queries are answered by the old version until the swap and by the new
    one after.

    Args:
        profile_id: of a profile that is kept in the store.
    """

    def __init__(self, site: Site, profile_id: str, store: Store, sites: Sites, engines: Engines) -> None:
        self.site, self.profile_id, self.store, self.sites, self.engines = (
            site,
            profile_id,
            store,
            sites,
            engines,
        )
        self.space = engines.space(profile_id)

    def run(
        self, cause: str, parent: int | None, job: str | None = None, progress: Progress = lambda share: None
    ) -> Version:
        """Re-embeds what the space lacks, builds the index, catches up under the site's lock and swaps.

        The new version is committed in one transaction together with its job's success: a crash before it
        leaves the old version, one after it the new. Raises Conflict where images are not kept.
        """
        batcher = self.engines.get(self.profile_id)
        self._embed_missing(batcher, progress)
        dim = self.engines.bundle.manifest.dim
        live = self.site.state.version
        version = Version(
            self.site.name, live.version + 1, self.profile_id, self.space, dim, parent, cause, time.time()
        )
        index = self.sites.load_index(version)
        with self.site.lock:
            for seqs, vectors, cameras in self._embed(
                batcher, self.store.missing_embeddings(self.site.name, self.space)
            ):
                index.add(seqs, cameras, vectors)
            late = np.setdiff1d(self.store.seqs(self.site.name), index.seqs())
            if len(late):  # embedded between the reading of the index and the lock
                index = self.sites.load_index(version)
            index.remove(np.setdiff1d(index.seqs(), self.store.seqs(self.site.name)))
            self.store.make_live(version, job)
            self.site.state = SiteState(version, index)
        self.store.drop_unused_spaces()
        return version

    def _embed_missing(self, batcher: Batcher, progress: Progress) -> None:
        """Everything but a remainder small enough to be done while enrolls wait."""
        missing = self.store.missing_embeddings(self.site.name, self.space)
        total, done = len(missing), 0
        while len(missing) > CHUNK or (len(missing) and not done):
            for seqs, _, _ in self._embed(batcher, missing):
                done += len(seqs)
                progress(min(1.0, done / max(1, total)))
            missing = self.store.missing_embeddings(self.site.name, self.space)

    def _embed(
        self, batcher: Batcher, seqs: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, list[str | None]]]:
        """Yields (seqs, float32 [N,D], cameras) of the items that still exist, committed to the store chunk
        by chunk."""
        manifest = self.engines.bundle.manifest
        for start in range(0, len(seqs), CHUNK):
            chunk = [int(s) for s in seqs[start : start + CHUNK]]
            items, images = self.store.items_by_seq(chunk), self.store.images(chunk)
            chunk = [s for s in chunk if s in items]
            bare = [items[s].id for s in chunk if s not in images]
            if bare:
                raise Conflict(
                    f"the image of item {bare[0]} is not kept, so site {self.site.name!r} cannot be "
                    f"re-embedded"
                )
            if not chunk:
                continue
            crops = np.stack(
                [decode_stored(images[s], items[s].id, manifest.height, manifest.width) for s in chunk]
            )
            vectors = batcher.submit(crops, "bulk").result()
            self.store.add_embeddings(self.space, chunk, vectors)
            yield np.array(chunk, np.int64), vectors, [items[s].camera for s in chunk]


def decode_stored(data: bytes, item_id: str, height: int, width: int) -> np.ndarray:
    """uint8 [height,width,3] of stored bytes. Raises Conflict naming the item if they no longer decode."""
    try:
        return decode_crop(data, height, width, STORED)
    except ImageError as error:
        raise Conflict(
            f"the stored image of item {item_id} no longer decodes ({error}); erase it and start again"
        ) from error
