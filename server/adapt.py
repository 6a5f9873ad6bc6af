"""Adapt and roll back: the jobs that give a site another profile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from server.adaptation import TIERS, Adaptation, Tier
from server.engines import Engines
from server.errors import BadRequest, Conflict
from server.gallery.store import Store
from server.jobs import Handle, Job, Jobs
from server.rebuild import Rebuilder
from server.settings import Settings
from server.sites import Sites

_SAMPLES = (16, 16_384)  # fewest and most crops that an adaptation may be told to look at


class Adapting:
    """The use cases. Raise `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        sites: Sites,
        engines: Engines,
        rebuilder: Rebuilder,
        jobs: Jobs,
    ) -> None:
        self.settings, self.store, self.sites, self.engines = settings, store, sites, engines
        self.rebuilder, self.jobs = rebuilder, jobs

    async def adapt(
        self, site_name: str, tier: str = "auto", max_samples: int | None = None, seed: int = 0
    ) -> Job:
        """Starts an adaptation and returns its job."""
        tiers: dict[str, Tier] = {name: name for name in TIERS}
        if tier not in tiers:
            raise BadRequest(f"tier {tier!r} is unknown; this version has {', '.join(tiers)}")
        samples = self.settings.adapt_samples if max_samples is None else max_samples
        low, high = _SAMPLES
        if not low <= samples <= high:
            raise BadRequest(f"max_samples is {samples}; it must lie between {low} and {high}")
        if not 0 <= seed < 2**63:
            raise BadRequest(f"seed is {seed}; it must lie between 0 and 2^63")
        site = self.sites.get(site_name)
        adaptation = Adaptation(site, tiers[tier], samples, seed, self.store, self.engines, self.rebuilder)
        await asyncio.to_thread(adaptation.check)
        request = {"tier": tier, "max_samples": samples, "seed": seed}
        return await asyncio.to_thread(
            self.jobs.start, site_name, "adapt", request, self._then_clean(adaptation.run)
        )

    async def roll_back(self, site_name: str) -> Job:
        """Starts a job that makes a new version with the profile of the live one's parent.

        Raises Conflict where there is no parent.
        """
        site = self.sites.get(site_name)
        live = site.state.version
        parent = self.store.versions.get(site_name, live.parent) if live.parent is not None else None
        if parent is None:
            raise Conflict(
                f"site {site_name!r} is on version {live.version}, which has no earlier one to roll back to"
            )

        def work(handle: Handle) -> None:
            version = self.rebuilder.run(
                site,
                parent.profile_id,
                "rollback",
                parent.parent,
                handle.job.id,
                lambda share: handle.step(share, "re-embedding"),
            )
            handle.job.version = version.version
            handle.job.report.restores = parent.version

        request = {"from": live.version, "to": parent.version}
        return await asyncio.to_thread(
            self.jobs.start, site_name, "rollback", request, self._then_clean(work)
        )

    def _then_clean(self, work: Callable[[Handle], None]) -> Callable[[Handle], None]:
        """The work, and after it, however it ended, nothing left that no version uses."""

        def run(handle: Handle) -> None:
            try:
                work(handle)
            finally:
                self.rebuilder.drop_unused()

        return run
