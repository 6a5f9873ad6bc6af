"""Adaptations that begin by themselves: of sites whose schedule says after how many new crops or hours; and
calibrations that are measured again, and clusters that a version has not had yet.

What is new counts from the last adaptation of the site, whoever asked for it and however it ended, so nothing
has to be remembered over a restart, and an adaptation that declines is not tried again at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from server.adapt import Adapting
from server.calibrating import Calibrating
from server.clustering import Clustering
from server.errors import BadRequest, NotFound, Problem, Stopping, StoreUnavailable
from server.gallery.records import AdaptAfter
from server.gallery.store import Store
from server.sites import Site, Sites

log = logging.getLogger("resight")
CHECK_S = 10.0  # between two looks at the sites
MOST_NEW_ITEMS = 1_000_000_000  # after which an adaptation begins
FEWEST_HOURS, MOST_HOURS = 0.1, 8_760.0


class Schedule:
    """The schedules of all sites, and the thread that follows them once it is started."""

    def __init__(
        self,
        store: Store,
        sites: Sites,
        adapting: Adapting,
        calibrating: Calibrating,
        clustering: Clustering,
    ) -> None:
        self.store, self.sites = store, sites
        self.adapting, self.calibrating, self.clustering = adapting, calibrating, clustering
        self.wake, self.closed = threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None

    async def set(self, site_name: str, items: int | None, hours: float | None) -> Site:
        """Has a site adapted again after this many new items, or after this many hours in which some were
        enrolled, whichever comes first. Neither of them: no longer.

        Raises NotFound, BadRequest.
        """
        site = self.sites.get(site_name)
        if items is not None and not 1 <= items <= MOST_NEW_ITEMS:
            raise BadRequest(f"items is {items}; it must lie between 1 and {MOST_NEW_ITEMS}")
        if hours is not None and not FEWEST_HOURS <= hours <= MOST_HOURS:
            raise BadRequest(f"hours is {hours}; it must lie between {FEWEST_HOURS} and {MOST_HOURS:.0f}")
        after = None if items is None and hours is None else AdaptAfter(items, hours)
        await asyncio.to_thread(self._set, site, after)
        self.wake.set()
        return site

    def _set(self, site: Site, after: AdaptAfter | None) -> None:
        with site.lock:
            if site.deleted:
                raise NotFound(f"site {site.name!r} was deleted a moment ago")
            self.store.schedules.set(site.name, after)
            site.adapt_after, site.waits = after, None

    def start(self) -> None:
        """Follows the schedules until `close`."""
        self.thread = threading.Thread(target=self._follow, name="schedule", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Begins no more adaptations."""
        self.closed.set()
        self.wake.set()
        if self.thread is not None:
            self.thread.join()

    def run_due(self) -> None:
        """Starts the adaptations that are due, and measures grown galleries again. A site that cannot be
        adapted now says why and waits. People without a name are grouped once in each version, so that the
        first query by person finds them together already."""
        for site in list(self.sites.by_name.values()):
            if site.state.unknown is None:
                self.clustering.keep_up(site)
            try:
                self.calibrating.renew(site)
            except Exception:  # one site that cannot be measured must not keep the others waiting
                log.exception("site %s could not be measured again", site.name)
            after = site.adapt_after
            if after is None or self.closed.is_set():
                continue
            try:
                if self._is_due(site.name, after):
                    self.adapting.start_scheduled(site.name)
                site.waits = None
            except Stopping:
                return
            except StoreUnavailable as error:
                site.waits = error.detail
                log.warning("site %s could not be adapted by its schedule: %s", site.name, error.detail)
            except Problem as problem:  # too few crops, or another job of the site
                site.waits = problem.detail

    def _is_due(self, site: str, after: AdaptAfter) -> bool:
        last = self.store.schedules.last_adapted(site)
        if after.items is not None and self.store.schedules.has_enrolled(site, after.items, last):
            return True
        if after.hours is None or time.time() - last < after.hours * 3600:
            return False
        return self.store.schedules.has_enrolled(site, 1, last)

    def _follow(self) -> None:
        while not self.closed.is_set():
            try:
                self.run_due()
            except Exception:  # one look that fails must not be the last one
                log.exception("the schedules of the sites could not be followed")
            self.wake.wait(CHECK_S)
            self.wake.clear()
