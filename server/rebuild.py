"""Re-embedding a gallery beside the live one, and the swap that gives the site another profile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from reid.profile import Centres, Profile
from server.calibration import TooFewLabels, carried_over, labels_again, of_card, of_labels
from server.embedding import Embedding
from server.engines import Engines
from server.errors import Conflict
from server.gallery.indexes import Indexes, add_chunk, add_stored
from server.gallery.records import Embedded, Item, Version
from server.gallery.store import Store
from server.job import Cancelled
from server.profile_engine import ProfileEngine
from server.sites import Site, SiteState, put_moved

CHUNK = 64
_AHEAD = 2  # chunks that the engine has while the next is read

Progress = Callable[[float], None]
# every embedding of the site in the profile's raw space -> the profile that goes live
Finish = Callable[[Sequence[Embedded]], Profile]


class Rebuilder:
    """Puts sites on other profiles. The old version answers queries until the swap, then the new one does."""

    def __init__(self, store: Store, engines: Engines, embedding: Embedding, indexes: Indexes) -> None:
        self.store, self.engines, self.embedding, self.indexes = store, engines, embedding, indexes

    def run(
        self,
        site: Site,
        profile_id: str,
        cause: str,
        parent: int | None,
        job: str | None = None,
        progress: Progress = lambda share: None,
        tiers: str | None = None,
        finish: Finish | None = None,
        calibration: dict[str, Any] | None = None,
    ) -> Version:
        """Re-embeds what the profile's raw space lacks, builds the index, catches up under the lock, swaps.
        Nothing lacks where only the centres are others.

        The new version is committed in one transaction together with its job's success: a crash before it
        leaves the old version, one after it the new.

        Args:
            profile_id: of a profile that is kept in the store.
            parent: the version that a rollback of the new one returns to.
            tiers: of adaptation that made the profile; see Version.
            finish: makes the profile that goes live, of the same tables, once everything is embedded: its
                centres come from what is stored. What it raises leaves the old version.
            calibration: of the profile's space, where that is known. Without it the labels of the site say
                it or, where they do not suffice, the calibration before is kept as a guess.

        Raises Conflict where something has to be re-embedded and images are not kept, Cancelled where the job
        was cancelled before the commit.
        """
        with self.engines.lease(profile_id) as engine:
            raw_space = self.engines.raw_space(profile_id)
            with site.lock:
                site.moved.clear()
            self._embed_missing(site, engine, raw_space, progress)
            stored = deque(self.store.embeddings.of_site(site.name, raw_space))
            profile = self.engines.profile(profile_id)
            if finish is not None:
                profile = finish(stored)
                self.store.versions.save_profile(profile)
            if calibration is None:
                calibration = self._calibration(site, profile, lambda: progress(1.0))
            version = self._version(site, profile, cause, parent, tiers, calibration)
            self._swap(site, version, profile.centres, stored, engine, job, progress)
        return version

    def embed_missing(self, site: Site, profile_id: str, progress: Progress) -> None:
        """Embeds what the raw space of a kept profile lacks, so that a run with it finds everything there.

        Raises Conflict where something has to be embedded and images are not kept.
        """
        with self.engines.lease(profile_id) as engine:
            self._embed_missing(site, engine, self.engines.raw_space(profile_id), progress)

    def _calibration(self, site: Site, profile: Profile, check: Callable[[], None]) -> dict[str, Any] | None:
        """What scores will mean with a profile. Embeddings of other models than this one's say nothing about
        it, so a site that was re-embedded begins with the model's card again. A job that should end does so
        between two steps of it."""
        engines, live = self.engines, site.state.version
        spaces = engines.space(profile.id), engines.raw_space(profile.id)
        try:
            by = labels_again(live.calibration)
            return of_labels(self.store, site.name, profile.compare, *spaces, by, check=check)
        except TooFewLabels:
            pass
        same_model = live.raw_space_id == engines.raw_space(live.profile_id)
        if same_model and live.calibration is not None:
            return carried_over(live.calibration)
        return of_card(engines.bundle.manifest, engines.space(engines.base_id))

    def _version(
        self,
        site: Site,
        profile: Profile,
        cause: str,
        parent: int | None,
        tiers: str | None,
        calibration: dict[str, Any] | None,
    ) -> Version:
        return Version(
            site.name,
            site.state.version.version + 1,
            profile.id,
            self.engines.space(profile.id),
            self.engines.raw_space(profile.id),
            self.engines.bundle.manifest.dim,
            parent,
            cause,
            time.time(),
            tiers,
            len(profile.by_name),
            calibration,
        )

    def _swap(
        self,
        site: Site,
        version: Version,
        centres: Centres | None,
        stored: deque[Embedded],
        engine: ProfileEngine,
        job: str | None,
        progress: Progress,
    ) -> None:
        """`stored` is what the store held of the version's raw space a moment ago; it is empty afterwards."""
        fit = self.store.fits.get(version.profile_id)
        state = SiteState(version, self.indexes.of(self.store, version, centres), centres, fit)
        index, raw_space = state.index, version.raw_space_id
        while stored:  # each chunk goes from memory when the index has it
            add_chunk(index, stored.popleft(), centres)
        progress(1.0)
        with site.lock:
            # Either the live version stores in this space too, then enrolls have put into it what the index
            # lacks, or it is embedded now.
            missing = self.store.embeddings.missing(site.name, raw_space)
            for items, vectors in self._embed(site, engine, raw_space, missing):
                state.put(items, vectors)
            last = int(index.seqs().max(initial=0))
            add_stored(index, self.store, version, centres, after=last)
            put_moved(self.store, state, sorted(site.moved))
            index.remove(np.setdiff1d(index.seqs(), self.store.items.seqs(site.name)))
            if not self.store.versions.make_live(version, job):
                raise Cancelled
            site.state = state

    def drop_unused(self) -> None:
        """Deletes embeddings and profiles that neither a site's live version nor its parent nor an unfinished
        job uses, and closes engines that neither a live version nor an unfinished job uses."""
        kept = self.store.jobs.profiles_of_unfinished()
        self.store.embeddings.drop_unused({self.engines.raw_space(profile_id) for profile_id in kept})
        self.store.versions.drop_unused_profiles(kept)
        self.engines.keep_only({live.profile_id for live in self.store.versions.live()} | kept)

    def _embed_missing(self, site: Site, engine: ProfileEngine, space: str, progress: Progress) -> None:
        """Everything but a remainder small enough to be done while enrolls wait."""
        missing = self.store.embeddings.missing(site.name, space)
        total, done = len(missing), 0
        while len(missing) > CHUNK or (len(missing) and not done):
            for items, _ in self._embed(site, engine, space, missing):
                done += len(items)
                progress(min(1.0, done / max(1, total)))
            missing = self.store.embeddings.missing(site.name, space)

    def _embed(
        self, site: Site, engine: ProfileEngine, space: str, seqs: np.ndarray
    ) -> Iterator[tuple[list[Item], np.ndarray]]:
        """Yields (items, float32 [n,D]) of those that still exist, committed to the store chunk by chunk. The
        engine works on some chunks while the next is read and decoded and the one before is committed."""
        ahead: deque[tuple[list[Item], Future[np.ndarray]]] = deque()
        for start in range(0, len(seqs), CHUNK):
            chunk = [int(s) for s in seqs[start : start + CHUNK]]
            items_by_seq, images = self.store.items.by_seq(chunk), self.store.items.images(chunk)
            items = [items_by_seq[seq] for seq in chunk if seq in items_by_seq]
            for item in items:
                if item.seq not in images:
                    raise Conflict(
                        f"the image of item {item.id} is not kept, so site {site.name!r} cannot be "
                        f"re-embedded"
                    )
            if not items:
                continue
            ahead.append((items, self.embedding.embed_stored(engine, images, items)))
            if len(ahead) > _AHEAD:
                yield self._keep(space, *ahead.popleft())
        while ahead:
            yield self._keep(space, *ahead.popleft())

    def _keep(
        self, space: str, items: list[Item], embedded: Future[np.ndarray]
    ) -> tuple[list[Item], np.ndarray]:
        vectors = embedded.result()
        cameras = [item.camera for item in items]
        self.store.embeddings.add(space, [item.seq for item in items], vectors, cameras)
        return items, vectors
