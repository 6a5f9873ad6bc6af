"""What the server says about itself, and whether it can answer."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import numpy as np

from reid.bundle import Bundle
from reid.engines.trial import Trial
from server.batching import EmbedError
from server.engines import Engines
from server.errors import Overloaded
from server.fields import TIER_CHOICES
from server.gallery.indexes import Indexes
from server.gallery.store import Store
from server.reports import (
    AdaptAfterReport,
    BundleReport,
    EngineReport,
    FallbackReport,
    IndexReport,
    ServerReport,
    SiteReport,
    TrialReport,
    TuningReport,
)
from server.settings import Settings
from server.sites import Site, Sites
from server.thresholds import report_of

_CANARY_S = 10  # the canary's answer must come within this time


class Status:
    """Reports of the server and its sites."""

    def __init__(
        self,
        settings: Settings,
        bundle: Bundle,
        store: Store,
        engines: Engines,
        indexes: Indexes,
        sites: Sites | None = None,
    ) -> None:
        self.settings, self.bundle, self.store, self.engines = settings, bundle, store, engines
        self.indexes, self.sites = indexes, sites
        self.started_at = time.time()

    def site(self, site: Site) -> SiteReport:
        """A site as callers see it."""
        state, after = site.state, site.adapt_after
        version, centres, fit = state.version, state.centres, state.fit
        unknown = None if version.profile_id != self.engines.base_id else 0
        return SiteReport(
            site=site.name,
            version=version.version,
            space_id=version.space_id,
            raw_space_id=version.raw_space_id,
            profile=version.profile_id,
            items=len(state.index),
            adapted=version.profile_id != self.engines.base_id,
            tiers=version.tiers if version.profile_id != self.engines.base_id else "none",
            camera_tables=version.camera_tables,
            camera_centres=len(centres.by_name) if centres is not None else 0,
            fitted_on=fit.count if fit is not None else unknown,
            fitted_on_erased=fit.erased(state.index.seqs()) if fit is not None else unknown,
            can_roll_back=version.parent is not None,
            cause=version.cause,
            calibration=report_of(version.calibration, len(state.index))
            if version.calibration is not None
            else None,
            adapt_after=AdaptAfterReport(items=after.items, hours=after.hours, waits=site.waits)
            if after is not None
            else None,
            index=IndexReport(**dataclasses.asdict(state.index.facts)),
        )

    def server(self) -> ServerReport:
        """What really runs."""
        manifest, tuning = self.bundle.manifest, self.engines.tuning
        bundle = BundleReport(
            name=manifest.name,
            base=self.bundle.base_id,
            architecture=manifest.architecture,
            dim=manifest.dim,
            height=manifest.height,
            width=manifest.width,
            training_domains=manifest.training_domains,
            ssl_heads=manifest.ssl_heads,
            weights_licence=manifest.weights_licence,
            metrics=manifest.metrics,
        )
        return ServerReport(
            bundle=bundle,
            engine=EngineReport(**dataclasses.asdict(self.engines.info)),
            refused_engines=self.engines.refused,
            engine_trials={name: _trial(each) for name, each in self.engines.trials.items()},
            fallbacks=[FallbackReport(**dataclasses.asdict(each)) for each in self.engines.fallbacks.all()],
            tuning=TuningReport(**dataclasses.asdict(tuning)) if tuning is not None else None,
            search=self.indexes.device,
            index=self.indexes.kind,
            index_recall=self._recalls(),
            max_batch=self.engines.max_batch,
            lanes=self.engines.lanes,
            keep_images=self.settings.keep_images,
            raw_space_id=self.engines.raw_space(self.engines.base_id),
            tiers=list(TIER_CHOICES),
            uptime_s=round(time.time() - self.started_at, 1),
        )

    def _recalls(self) -> dict[str, float]:
        """By site, of those that are searched approximately."""
        recalls = {}
        for site in self.sites.all() if self.sites is not None else ():
            recall = site.state.index.facts.recall
            if recall is not None:
                recalls[site.name] = recall
        return recalls

    async def ready(self) -> bool | None:
        """A crop goes through the real batcher and a transaction through the store. Returns `Purge.purged`.
        Raises Overloaded or StoreUnavailable where either does not work."""
        manifest = self.bundle.manifest
        canary = np.zeros((1, manifest.height, manifest.width, 3), np.uint8)
        try:
            await asyncio.wait_for(asyncio.wrap_future(self.engines.base.submit(canary)), _CANARY_S)
        except (EmbedError, TimeoutError, asyncio.TimeoutError) as error:
            raise Overloaded(
                f"the engine does not answer: {str(error) or f'nothing came within {_CANARY_S} s'}"
            ) from error
        await asyncio.to_thread(self.store.database.check_writable)
        return self.store.purge.purged


def _trial(trial: Trial) -> TrialReport:
    values = dataclasses.asdict(trial)
    return TrialReport(**{name: values[name] for name in TrialReport.model_fields})
