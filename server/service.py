"""The use cases together. HTTP and gRPC are two skins over this, with the same errors."""

from __future__ import annotations

from collections.abc import Sequence

from reid.bundle import Bundle
from server.adapt import Adapting
from server.calibrating import Calibrating
from server.clustering import Clustering
from server.console import Console
from server.correcting import Correcting
from server.embedding import Embedding
from server.engine_memory import give_back_freed_memory
from server.engines import Engines
from server.enroll import Enrolling
from server.gallery.store import Store
from server.items import Items
from server.jobs import Jobs
from server.journal import Journal
from server.maps import Maps
from server.naming import Naming
from server.query import Querying
from server.rebuild import Rebuilder
from server.reembedding import Reembedding
from server.review import Reviewing
from server.schedule import Schedule
from server.settings import Settings
from server.site_deletion import SiteDeletion
from server.sites import Site, Sites
from server.status import Status
from server.telemetry import Telemetry
from server.thumbnails import Thumbnails
from server.vectors import Vectoring


class Service:
    """Everything that one server does, each use case behind an attribute of its own.

    Args:
        stale: sites that have to be re-embedded before anything else is done with them.
    """

    def __init__(
        self,
        settings: Settings,
        bundle: Bundle,
        store: Store,
        engines: Engines,
        sites: Sites,
        stale: Sequence[Site] = (),
    ) -> None:
        self.settings, self.bundle, self.store = settings, bundle, store
        self.engines, self.sites = engines, sites
        self.telemetry = Telemetry()
        self.telemetry.watch(self)
        self.embedding = Embedding(bundle, engines, settings)
        self.rebuilder = Rebuilder(store, engines, self.embedding, sites.indexes)
        self.reembedding = Reembedding(self.rebuilder, stale)
        self.jobs = Jobs(store, clean=self._clean_after_job)
        self.enrolling = Enrolling(settings, store, sites, self.embedding, self.telemetry)
        self.vectoring = Vectoring(settings, sites, self.embedding)
        self.items = Items(settings, store, sites)
        self.correcting = Correcting(settings, store, sites, engines, self.embedding)
        self.journal = Journal(settings, store, sites, self.correcting)
        self.naming = Naming(store, sites, self.correcting)
        self.clustering = Clustering(store, sites, self.correcting)
        self.querying = Querying(settings, store, sites, self.embedding, self.clustering)
        self.maps = Maps(store, sites, self.clustering)
        self.reviewing = Reviewing(store, sites, self.clustering, self.correcting)
        self.adapting = Adapting(settings, store, sites, engines, self.rebuilder, self.jobs)
        self.calibrating = Calibrating(store, sites, engines)
        self.schedule = Schedule(store, sites, self.adapting, self.calibrating, self.clustering)
        self.site_deletion = SiteDeletion(store, sites, self.jobs, self.rebuilder)
        self.status = Status(settings, bundle, store, engines, sites.indexes, sites)
        self.thumbnails = Thumbnails(store, settings.data)
        self.console = Console(settings, store, engines, sites, self.jobs, self.status, self.telemetry)

    def _clean_after_job(self) -> None:
        self.rebuilder.drop_unused()
        give_back_freed_memory()

    def close(self) -> None:
        """Interrupts jobs, finishes what is queued, closes the store."""
        self.calibrating.stop()  # for which the schedule may wait
        self.schedule.close()
        self.jobs.close()
        workers = (self.embedding, self.querying, self.clustering, self.calibrating, self.enrolling)
        parts = (*workers, self.engines, self.store)
        for part in parts:
            part.close()
        self.sites.indexes.close()
