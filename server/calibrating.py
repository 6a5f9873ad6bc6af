"""Calibrate: what the scores of a live site mean, measured again."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from server.calibration import TooFewLabels, labels_again, of_labels
from server.engines import Engines
from server.errors import Conflict, NotFound, Problem, Stopping
from server.fields import calibrated_by
from server.fields.calibration import Labels
from server.gallery.store import Store
from server.reports import CalibrationReport
from server.sites import Site, Sites
from server.thresholds import calibration_of, report_of

log = logging.getLogger("resight")
_GROWN = 1.25  # times as many items as were measured: a calibration is measured again
# sites that are measured at once. Each has every core for its large products, so that more at once make
# nothing faster; but a small site does not wait until three large ones are measured.
_AT_ONCE = 4
_TRIES = 3  # to measure a version that is still live when it has been measured


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A measurement that somebody waits for."""

    by: Labels | None
    future: Future[CalibrationReport]


class Calibrating:
    """The use case. Sites are measured beside each other, in threads of their own; what is asked of one site
    is measured in the order in which it was asked. Queries go on meanwhile."""

    def __init__(self, store: Store, sites: Sites, engines: Engines) -> None:
        self.store, self.sites, self.engines = store, sites, engines
        self.pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="calibrate")
        self.lock = threading.Lock()  # of the next two
        self.stopping = False
        self.asked: dict[Site, deque[_Asked]] = {}  # of sites that are being measured: what comes next

    def stop(self) -> None:
        """Ends what is measured at its next step, without keeping anything of it, and begins nothing that
        waits: whoever waits is told that the server ends."""
        with self.lock:
            self.stopping = True
            waiting = [asked for queue in self.asked.values() for asked in queue]
            self.asked = {site: deque() for site in self.asked}
        for asked in waiting:
            if asked.future.set_running_or_notify_cancel():
                asked.future.set_exception(_ending())

    def close(self) -> None:
        """As `stop`, and waits for the step that is being made."""
        self.stop()
        self.pool.shutdown(wait=True)

    async def calibrate(self, site_name: str, labels: str | None = None) -> CalibrationReport:
        """Measures what scores of the live version mean, by labels of the site's items, and keeps it.

        Args:
            labels: identity, tracklets, all or answers; None or empty takes identities, or where they do not
                suffice, all, or answers.

        Raises NotFound, and Conflict where labels do not suffice: then the calibration before stays. Raises
        Stopping where the server ends.
        """
        site, by = self.sites.get(site_name), calibrated_by(labels)
        return await asyncio.wrap_future(self._ask(site, by))

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
            self._ask(site, labels_again(known)).result()
        except Stopping:
            return
        except Problem as problem:
            log.info("site %s keeps its calibration: %s", site.name, problem.detail)

    def _ask(self, site: Site, by: Labels | None) -> Future[CalibrationReport]:
        """Measures a site once all that was asked of it before is measured."""
        asked = _Asked(by, Future())
        with self.lock:
            self._require_going_on(site)
            queue = self.asked.get(site)
            if queue is None:
                self.asked[site] = deque([asked])
                self.pool.submit(self._next, site)
            else:
                queue.append(asked)
        return asked.future

    def _next(self, site: Site) -> None:
        """Measures what comes next of a site, and then lets other sites that wait have their turn."""
        with self.lock:
            asked = self.asked[site].popleft() if self.asked[site] else None
        if asked is not None and asked.future.set_running_or_notify_cancel():
            try:
                asked.future.set_result(self._calibrate(site, asked.by))
            except BaseException as error:  # whoever waits must hear of it
                asked.future.set_exception(error)
        with self.lock:
            if self.asked[site]:
                self.pool.submit(self._next, site)
            else:
                del self.asked[site]

    def _require_going_on(self, site: Site) -> None:
        """Raises Stopping where the server ends, NotFound where the site was deleted."""
        if self.stopping:
            raise _ending()
        if site.deleted:
            raise NotFound(f"site {site.name!r} was deleted a moment ago")

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
                    lambda: self._require_going_on(site),
                )
            except TooFewLabels as few:
                if site.state.version.version != version.version:
                    continue  # a swap has taken the embeddings away
                raise Conflict(f"site {site.name!r} cannot be calibrated: {few}", people=few.people) from few
            calibrated = dataclasses.replace(version, calibration=measured)
            with site.lock:  # nothing is swapped meanwhile
                self._require_going_on(site)
                if site.state.version.version == version.version:
                    self.store.versions.calibrate(calibrated)
                    site.state = dataclasses.replace(site.state, version=calibrated)
                    return report_of(measured, len(site.state.index))
        raise Conflict(f"site {site.name!r} is swapped again and again; calibrate it when its jobs are over")


def _ending() -> Stopping:
    return Stopping("the server is stopping")
