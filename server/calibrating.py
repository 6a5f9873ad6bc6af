"""Calibrate: what the scores of a live site mean, measured again."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from concurrent.futures import ThreadPoolExecutor

from server.calibration import TooFewLabels, labels_again, of_labels
from server.engines import Engines
from server.errors import Conflict, NotFound, Problem
from server.fields import calibrated_by
from server.fields.calibration import Labels
from server.gallery.store import Store
from server.reports import CalibrationReport
from server.sites import Site, Sites
from server.thresholds import calibration_of, report_of

log = logging.getLogger("resight")
_GROWN = 1.25  # times as many items as were measured: a calibration is measured again
_TRIES = 3  # to measure a version that is still live when it has been measured


class Calibrating:
    """The use case. One site at a time is measured, in a thread of its own: a measurement takes a second of
    every core, and queries go on meanwhile."""

    def __init__(self, store: Store, sites: Sites, engines: Engines) -> None:
        self.store, self.sites, self.engines = store, sites, engines
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="calibrate")

    def close(self) -> None:
        """Finishes the measurement that runs, and begins none that waits."""
        self.worker.shutdown(wait=True, cancel_futures=True)

    async def calibrate(self, site_name: str, labels: str | None = None) -> CalibrationReport:
        """Measures what scores of the live version mean, by labels of the site's items, and keeps it.

        Args:
            labels: identity, tracklets, all or answers; None or empty takes identities, or where they do not
                suffice, all, or answers.

        Raises NotFound, and Conflict where labels do not suffice: then the calibration before stays.
        """
        site, by = self.sites.get(site_name), calibrated_by(labels)
        return await asyncio.get_running_loop().run_in_executor(self.worker, self._calibrate, site, by)

    def renew(self, site: Site) -> None:
        """Measures again where the labels of the site have been measured in the live space, and its gallery
        has grown by a quarter since. Thresholds move with the number of people by themselves: this is for
        what new people tell. Where they do not suffice the calibration before stays, and is tried again
        after another quarter."""
        known = calibration_of(site.state.version)
        if known is None or known.get("measured") is None:
            return
        if known["guess"] and known["measured"].get("labels") not in ("tracklets", "answers"):
            return
        items = len(site.state.index)
        tried = max(known["measured"]["gallery_items"], site.last_measured)
        if items < _GROWN * tried:
            return
        site.last_measured = items
        try:
            self.worker.submit(self._calibrate, site, labels_again(known)).result()
        except Problem as problem:
            log.info("site %s keeps its calibration: %s", site.name, problem.detail)

    def _calibrate(self, site: Site, by: Labels | None) -> CalibrationReport:
        for _ in range(_TRIES):
            state = site.state
            version = state.version
            try:
                measured = of_labels(
                    self.store,
                    site.name,
                    state.compare,
                    version.space_id,
                    version.raw_space_id,
                    by,
                    version.calibration,
                )
            except TooFewLabels as few:
                if site.state.version.version != version.version:
                    continue  # a swap has taken the embeddings away
                raise Conflict(f"site {site.name!r} cannot be calibrated: {few}", people=few.people) from few
            calibrated = dataclasses.replace(version, calibration=measured)
            with site.lock:  # nothing is swapped meanwhile
                if site.deleted:
                    raise NotFound(f"site {site.name!r} was deleted a moment ago")
                if site.state.version.version == version.version:
                    self.store.versions.calibrate(calibrated)
                    site.state = dataclasses.replace(site.state, version=calibrated)
                    return report_of(measured, len(site.state.index))
        raise Conflict(f"site {site.name!r} is swapped again and again; calibrate it when its jobs are over")
