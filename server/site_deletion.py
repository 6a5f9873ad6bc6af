"""Delete a site: its items, versions, profiles, jobs and schedule; nothing of it can come back."""

from __future__ import annotations

import asyncio

from server.gallery.records import Erased
from server.gallery.store import Store
from server.jobs import Jobs
from server.rebuild import Rebuilder
from server.sites import Sites


class SiteDeletion:
    """The use case. Raises `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(self, store: Store, sites: Sites, jobs: Jobs, rebuilder: Rebuilder) -> None:
        self.store, self.sites, self.jobs, self.rebuilder = store, sites, jobs, rebuilder

    async def delete(self, site_name: str, actor: str) -> Erased:
        """Deletes a site; returns how many items it had.

        Crops that are being enrolled into it are refused when they are to be committed. A crash in between
        leaves the site as it was.

        Raises NotFound, and Conflict while the site has a job: cancel it first.
        """
        self.sites.get(site_name)
        return await asyncio.to_thread(self._delete, site_name, actor)

    def _delete(self, site_name: str, actor: str) -> Erased:
        with self.jobs.none_at(site_name), self.sites.lock:
            site = self.sites.get(site_name)
            with site.lock:
                seqs = self.store.items.seqs(site_name).tolist()
                count = self.store.versions.delete_site(site_name, seqs, actor)
                site.deleted = True
                del self.sites.by_name[site_name]
                site.state.index.remove(seqs)
        self.rebuilder.drop_unused()
        return Erased(count, self.store.purge.after_erasure(), self.sites.indexes.keeps_until())
