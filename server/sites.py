"""A site's live state, swapped as one: whoever took the reference has a version and its index together."""

from __future__ import annotations

import dataclasses
import logging
import re
import threading
import time
from collections.abc import Sequence

import numpy as np

from reid.profile import Centres
from server.calibration import of_card
from server.engines import Engines
from server.errors import BadRequest, NotFound, StartError
from server.gallery.index import GalleryIndex
from server.gallery.indexes import Indexes, to_compare
from server.gallery.records import AdaptAfter, Fit, Item, Version
from server.gallery.store import Store
from server.unknown import UnknownPeople

log = logging.getLogger("resight")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclasses.dataclass(frozen=True)
class SiteState:
    """One moment of a site: a version, how its profile compares embeddings, the index of these, which items
    the profile was fitted to, where that is known, and clusters of items without a name, once they were
    made."""

    version: Version
    index: GalleryIndex
    centres: Centres | None = None
    fit: Fit | None = None
    unknown: UnknownPeople | None = None

    def compare(self, vectors: np.ndarray, cameras: Sequence[str | None]) -> np.ndarray:
        """float [N,D] as embedded, the camera of each -> float [N,D], unit length, to be compared."""
        return to_compare(self.centres, vectors, cameras)

    def add(self, items: Sequence[Item], vectors: np.ndarray) -> None:
        """Adds items to the index, float [N,D] as embedded, with the digits that the store keeps of them: an
        index that is built from the store is the same."""
        cameras = [item.camera for item in items]
        self.index.add([item.seq for item in items], cameras, self.compare(vectors.astype("<f2"), cameras))

    def put(self, items: Sequence[Item], vectors: np.ndarray) -> None:
        """Adds items to the index as `add` does, or puts them in the place of what it holds of them."""
        cameras = [item.camera for item in items]
        self.index.put([item.seq for item in items], cameras, self.compare(vectors.astype("<f2"), cameras))


class Site:
    """A deployment: its live state, and the lock that orders commits, erasures and swaps; queries take no
    lock."""

    def __init__(self, name: str, state: SiteState) -> None:
        self.name, self.state = name, state
        self.adapt_after: AdaptAfter | None = None
        self.waits: str | None = None  # why an adaptation that is due by this schedule does not begin yet
        # items whose camera was changed since the last re-embedding began, which may have read the one before
        self.moved: set[int] = set()
        self.changes = 0  # enrolls, erasures and corrections since the start, after which clusters are others
        self.moves = 0  # corrections by which items are compared otherwise than before
        self.last_measured = 0  # items it had when its calibration was last tried to be measured again
        self.deleted = False  # set under the lock: nothing may be committed to the site any more
        self.lock = threading.RLock()

    def vectors(self, state: SiteState, seqs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of items that the site's index holds, and float32 [N,D] of these, as they are compared: by the
        labels that the store had when this was called, since those who commit them hold the lock.

        Args:
            seqs: int64 [M], ascending.
        """
        with self.lock:
            held, vectors = state.index.vectors(seqs)
        return np.flatnonzero(held), vectors


def put_moved(store: Store, state: SiteState, seqs: Sequence[int]) -> None:
    """Gives the index what the store says by now of items whose camera was changed; call it with the site's
    lock."""
    by_seq = store.items.by_seq(seqs)
    left = [seq for seq in seqs if seq in by_seq]
    rows, vectors = store.embeddings.vectors(left, state.version.raw_space_id)
    if rows:
        state.put([by_seq[left[row]] for row in rows], vectors)


def check_site_name(name: str) -> None:
    """Raises BadRequest for a name that no site can have."""
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"site {name[:80]!r}: a name is 1 to 64 letters, digits, dots, dashes or underscores, and "
            f"begins with a letter or digit"
        )


class Sites:
    """Every site, loaded from the store at start."""

    def __init__(self, store: Store, engines: Engines, indexes: Indexes) -> None:
        self.store, self.engines, self.indexes = store, engines, indexes
        self.lock = threading.Lock()
        self.by_name: dict[str, Site] = {}

    def load(self, reembed: bool = False) -> list[Site]:
        """Builds the index of every site. Returns the sites that have to be re-embedded, if that is allowed.

        Raises StartError for a gallery of another embedding space, whose vectors must not be compared with
        this bundle's.
        """
        stale: list[Site] = []
        profiles: list[str] = []
        schedules = self.store.schedules.all()
        for live in self.store.versions.live():
            spaces = self.engines.space(live.profile_id), self.engines.raw_space(live.profile_id)
            fits = spaces == (live.space_id, live.raw_space_id)
            if not fits and not reembed:
                raise StartError(_mismatch(live, self.engines))
            if fits:
                centres = self.engines.centres(live.profile_id)
                fit = self.store.fits.get(live.profile_id)
                state = SiteState(live, self.indexes.open(self.store, live, centres), centres, fit)
                profiles.append(live.profile_id)
                self._note_missing(state)
            else:
                state = SiteState(live, self.indexes.new(self.engines.bundle.manifest.dim))
            site = self.by_name[live.site] = Site(live.site, state)
            site.adapt_after = schedules.get(live.site)
            if not fits:
                stale.append(site)
        self.indexes.opened()
        self.engines.warm(profiles)
        return stale

    def _note_missing(self, state: SiteState) -> None:
        """Says how many items no query finds, because the database has lost their embeddings."""
        site = state.version.site
        missing = self.store.items.count(site) - len(state.index)
        if missing:
            log.error(
                "site %s: %d items have no embedding, so no query finds them; the site's next adaptation or "
                "rollback embeds them again, where images are kept",
                site,
                missing,
            )

    def all(self) -> list[Site]:
        """Every site, by name."""
        return sorted(self.by_name.values(), key=lambda site: site.name)

    def get(self, name: str) -> Site:
        """A site. Raises NotFound, and BadRequest for an empty name."""
        if not name:
            raise BadRequest("site is empty; name the site")
        site = self.by_name.get(name)
        if site is None:
            raise NotFound(f"there is no site {name[:80]!r}; a site begins with its first enroll")
        return site

    def get_or_create(self, name: str) -> Site:
        """A site; a new one gets the bundle's own profile. Raises BadRequest for an unusable name."""
        site = self.by_name.get(name)
        if site is not None:
            return site
        check_site_name(name)
        with self.lock:
            if name not in self.by_name:
                first = self.first_version(name)
                self.store.versions.add_site(first)
                self.by_name[name] = Site(name, SiteState(first, self.indexes.of(self.store, first, None)))
            return self.by_name[name]

    def first_version(self, name: str) -> Version:
        """What a site begins with."""
        profile, dim = self.engines.base_id, self.engines.bundle.manifest.dim
        space, raw_space = self.engines.space(profile), self.engines.raw_space(profile)
        calibration = of_card(self.engines.bundle.manifest, space)
        return Version(
            name, 1, profile, space, raw_space, dim, None, "created", time.time(), "none", 0, calibration
        )


def _mismatch(live: Version, engines: Engines) -> str:
    manifest, info = engines.bundle.manifest, engines.info
    if live.dim != manifest.dim:
        what = (
            f"bundle {manifest.name!r} makes {manifest.dim}-d embeddings; "
            f"the gallery of site {live.site!r} holds {live.dim}-d ones"
        )
    else:
        what = (
            f"the gallery of site {live.site!r} holds embeddings of {live.space_id}; bundle "
            f"{manifest.name!r} in {info.precision} makes {engines.space(live.profile_id)}, which cannot be "
            "compared with them"
        )
    remedy = "re-embed with: resight serve --reembed (this ends adaptations)"
    return f"{what}. Start with the bundle and engine that made them, or {remedy}"
