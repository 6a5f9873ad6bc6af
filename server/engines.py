"""The compiled engines of the profiles in use: one batcher a profile, the base profile's always there."""

from __future__ import annotations

import threading
from collections import OrderedDict

from reid.batchnorm import BatchNormProfile, space_id
from reid.bundle import Bundle
from reid.engines import Engine, EngineInfo, choose_engine
from server.batching import Batcher, best_batch
from server.errors import Conflict
from server.gallery.store import Store
from server.settings import Settings


class Engines:
    """Sites that share a profile share its batcher. Engines of adapted sites are kept most recently used
    first.

    Raises EngineError from the constructor when nothing can run the bundle here.
    """

    def __init__(self, bundle: Bundle, settings: Settings, store: Store) -> None:
        self.bundle, self.settings, self.store = bundle, settings, store
        self.base_profile = bundle.profile()
        self.base_id = store.versions.save_profile(self.base_profile)
        engine = choose_engine(bundle, settings.device, settings.engine)
        self.info: EngineInfo = engine.describe()
        manifest = bundle.manifest
        self.max_batch = best_batch(engine, manifest.height, manifest.width)
        self.base = self._batcher(engine)
        self.adapted: OrderedDict[str, Batcher] = OrderedDict()
        self.lock = threading.Lock()

    def space(self, profile_id: str) -> str:
        """The embedding space of a profile under this bundle and precision."""
        return space_id(
            self.bundle.base_id, profile_id, self.bundle.manifest.preprocessing, self.info.precision
        )

    def ready(self, profile_id: str) -> Batcher | None:
        """The batcher of a profile, if it is compiled."""
        if profile_id == self.base_id:
            return self.base
        with self.lock:
            if profile_id in self.adapted:
                self.adapted.move_to_end(profile_id)
            return self.adapted.get(profile_id)

    def get(self, profile_id: str) -> Batcher:
        """The batcher of a kept profile, compiled now if need be (0.2 s and more: call it off the serving
        loop)."""
        found = self.ready(profile_id)
        if found is not None:
            return found
        profile = self.store.versions.profile(profile_id)
        if profile is None:
            raise Conflict(f"profile {profile_id} is not in the store; roll the site back")
        return self.add(profile)

    def add(self, profile: BatchNormProfile) -> Batcher:
        """Compiles a profile's engine and keeps it; the one not used for longest goes when there are too
        many."""
        with self.lock:
            if profile.id in self.adapted:
                return self.adapted[profile.id]
            self.adapted[profile.id] = self._batcher(self.base.engine.with_profile(profile))
            evicted = [
                self.adapted.popitem(last=False)[1]
                for _ in range(len(self.adapted) - self.settings.max_engines)
            ]
            made = self.adapted[profile.id]
        for batcher in evicted:
            threading.Thread(target=batcher.close, daemon=True).start()  # it answers what it has taken
        return made

    def close(self) -> None:
        """Finishes what is queued."""
        for batcher in [self.base, *self.adapted.values()]:
            batcher.close()

    def _batcher(self, engine: Engine) -> Batcher:
        return Batcher(engine, self.bundle.manifest.dim, self.max_batch, self.settings.max_queued_crops)
