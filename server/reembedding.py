"""Re-embedding of the galleries that another model made, at a start with `--reembed`.

The ports are open meanwhile, so that whoever watches the server sees that it lives: /ready answers 503 with
how far it is, and so does every call that needs a gallery.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from server.errors import Conflict, Overloaded, Problem, StartError
from server.rebuild import Rebuilder
from server.sites import Site

log = logging.getLogger("resight")
_RETRY_AFTER_S = 10


class _Stopped(Exception):
    """The server ends; the next start goes on from what was embedded."""


class Reembedding:
    """The work, once: `run` in a thread, `require_ended` from anywhere. Who called `run` sets `ended`.

    Args:
        sites: that are re-embedded, in this order.

    Raises Conflict where a site has items whose images are not kept: nothing is begun then.
    """

    def __init__(self, rebuilder: Rebuilder, sites: Sequence[Site]) -> None:
        self.rebuilder, self.sites = rebuilder, list(sites)
        self.ended, self.stopping = threading.Event(), threading.Event()
        self.stage = ""  # for people
        for site in self.sites:
            self._require_images(site)
        if not self.sites:
            self.ended.set()

    def require_ended(self) -> None:
        """Raises Overloaded while it runs."""
        if not self.ended.is_set():
            raise Overloaded(
                f"galleries are being re-embedded for another model{self.stage}; try again later",
                _RETRY_AFTER_S,
            )

    def run(self) -> bool:
        """Re-embeds every site. False when `stop` ended it early. Raises StartError where a site cannot be
        re-embedded."""
        try:
            for number, site in enumerate(self.sites, 1):
                self._run_site(site, f"site {site.name} ({number} of {len(self.sites)})")
        except _Stopped:
            return False
        except Problem as problem:
            raise StartError(problem.detail) from problem
        if self.sites:
            self.rebuilder.drop_unused()
        return True

    def stop(self) -> None:
        """Lets `run` return soon."""
        self.stopping.set()

    def _run_site(self, site: Site, title: str) -> None:
        engines = self.rebuilder.engines
        log.warning("re-embedding %s for bundle %s", title, engines.bundle.manifest.name)

        def progress(share: float) -> None:
            self.stage = f": {title}, {share:.0%}"
            if self.stopping.is_set():
                raise _Stopped

        progress(0.0)
        self.rebuilder.run(site, engines.base_id, "reembed", None, progress=progress, tiers="none")

    def _require_images(self, site: Site) -> None:
        store, engines = self.rebuilder.store, self.rebuilder.engines
        if not len(store.embeddings.missing(site.name, engines.raw_space(engines.base_id))):
            return
        if count := store.items.count_without_image(site.name):
            raise Conflict(
                f"site {site.name!r} cannot be re-embedded: the images of {count} of its items are not kept. "
                "Start with the bundle and engine that made the gallery, or enroll into an empty one (--data)"
            )
