"""Adapt and roll back: the jobs that give a site another profile."""

from __future__ import annotations

import asyncio
from typing import Any

from server.adaptation import Adaptation, Asked
from server.engines import Engines
from server.errors import BadRequest, Conflict
from server.fields import tiers_of
from server.gallery.store import Store
from server.job import Declined, Job
from server.jobs import Handle, Jobs, Work
from server.rebuild import Rebuilder
from server.settings import FEWEST_SAMPLES, MOST_SAMPLES, Settings
from server.sites import Sites

# why a version has no earlier one, by its cause, where its number leads to expect one
_NOTHING_BEFORE = {
    "rollback": ": a rollback made it, and what that brought back is the first that is kept; adapt instead",
    "reembed": ": it was embedded anew for another model, and versions of the model before ended with that",
}


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
        self,
        site_name: str,
        tier: str = "auto",
        max_samples: int | None = None,
        seed: int = 0,
        gate: bool = True,
        refit: bool = False,
    ) -> Job:
        """Starts an adaptation and returns its job.

        Args:
            refit: the live profile is made again, of what is left of the items that it was fitted to. Its
                tiers were judged when they were taken, so they are not judged again.
        """
        tiers = self._live_tiers(site_name, tier) if refit else tiers_of(tier)
        samples = self.settings.adapt_samples if max_samples is None else max_samples
        if not FEWEST_SAMPLES <= samples <= MOST_SAMPLES:
            raise BadRequest(
                f"max_samples is {samples}; it must lie between {FEWEST_SAMPLES} and {MOST_SAMPLES}"
            )
        if not 0 <= seed < 2**63:
            raise BadRequest(f"seed is {seed}; it must lie between 0 and 2^63")
        request = {"tier": tiers, "max_samples": samples, "seed": seed, "gate": gate}
        if refit:
            request |= {"gate": False, "refit": True}
        return await asyncio.to_thread(self._start, site_name, request)

    def start_scheduled(self, site_name: str) -> Job:
        """Starts an adaptation that a site's schedule asks for: `auto`, always gated. Writes to the store.

        Raises what `adapt` raises.
        """
        request = {"tier": "auto", "max_samples": self.settings.adapt_samples, "seed": 0, "gate": True}
        return self._start(site_name, request | {"scheduled": True})

    async def roll_back(self, site_name: str) -> Job:
        """Starts a job that makes a new version with the profile of the live one's parent.

        Raises Conflict where there is no parent, or where images that it needs are not kept.
        """
        live = self.sites.get(site_name).state.version
        if live.parent is None:
            raise Conflict(
                f"site {site_name!r} is on version {live.version}, which has no earlier one to roll back to"
                f"{_NOTHING_BEFORE.get(live.cause, '')}"
            )
        return await asyncio.to_thread(self._start_rollback, site_name, live.version, live.parent)

    def _start_rollback(self, site_name: str, live: int, parent: int) -> Job:
        to = self.store.versions.get(site_name, parent)
        without = self.store.items.count_without_image(site_name)
        if to is not None and without:
            raw_space = self.engines.raw_space(to.profile_id)
            if len(self.store.embeddings.missing(site_name, raw_space)):
                raise Conflict(
                    f"site {site_name!r} cannot be rolled back to version {parent}: the images of {without} "
                    f"of its items are not kept, so they cannot be embedded for it; erase them, or enroll "
                    f"their images"
                )
        request = {"from": live, "to": parent}
        work = self._rollback(site_name, request)
        return self.jobs.start(site_name, "rollback", request, work)

    def resume(self) -> None:
        """Queues the jobs again that the last stop of the server cut off."""
        self.jobs.resume(self._work_of)

    def _live_tiers(self, site_name: str, tier: str) -> str:
        """The tiers that a refit makes again. Raises NotFound, BadRequest, Conflict."""
        live = self.sites.get(site_name).state.version
        if tier != "auto":
            raise BadRequest("refit makes the tiers that are live again; leave tier out")
        if live.profile_id == self.engines.base_id:
            raise Conflict(f"site {site_name!r} has the bundle's own values, so there is nothing to refit")
        if live.tiers is None:
            raise Conflict(
                f"an older version of Resight adapted site {site_name!r} and did not keep by which tiers; "
                f"adapt it again instead"
            )
        return live.tiers

    def _start(self, site_name: str, request: dict[str, Any]) -> Job:
        adaptation = self._adaptation(site_name, request)
        adaptation.check()
        return self.jobs.start(site_name, "adapt", request, adaptation.run)

    def _work_of(self, job: Job) -> Work:
        if job.kind == "adapt":
            return self._adaptation(job.site, job.request).run
        return self._rollback(job.site, job.request)

    def _adaptation(self, site_name: str, request: dict[str, Any]) -> Adaptation:
        """Raises NotFound for an unknown site."""
        asked = Asked(
            request["tier"],
            request.get("gate", True),  # an older version that was interrupted had none
            request["max_samples"],
            request["seed"],
            request.get("refit", False),
        )
        site = self.sites.get(site_name)
        return Adaptation(site, asked, self.store, self.engines, self.rebuilder)

    def _rollback(self, site_name: str, request: dict[str, Any]) -> Work:
        """Raises NotFound for an unknown site."""
        site = self.sites.get(site_name)

        def work(handle: Handle) -> None:
            live = site.state.version
            parent = self.store.versions.get(site_name, request["to"])
            if live.version != request["from"] or parent is None:
                raise Declined(
                    f"version {request['from']} was to be rolled back to {request['to']}, but site "
                    f"{site_name!r} is on version {live.version} by now"
                )
            version = self.rebuilder.run(
                site,
                parent.profile_id,
                "rollback",
                parent.parent,
                handle.job.id,
                lambda share: handle.step(share, "re-embedding"),
                tiers=parent.tiers,
                calibration=parent.calibration,
            )
            handle.job.version = version.version
            handle.job.report.restores = parent.version

        return work
