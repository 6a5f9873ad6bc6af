"""Opens indexes in Milvus: rows that an earlier server wrote are compared with the store, and mended."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import defaultdict

import numpy as np

from reid.profile import Centres
from server.errors import StartError
from server.gallery.index import GalleryIndex
from server.gallery.indexes import Indexes, require_length, to_compare
from server.gallery.milvus import MilvusAway, MilvusRows
from server.gallery.milvus_index import MilvusIndex, StoredVectors
from server.gallery.milvus_writer import MilvusWriter
from server.gallery.records import Version
from server.gallery.store import Store

log = logging.getLogger("resight")
_Found = dict[int, dict[int, int]]  # space -> seq -> digest


class MilvusIndexes(Indexes):
    """Makes indexes in Milvus.

    Args:
        rows: of the gallery; connected here. log_days: how long Milvus keeps its log. ended: see
            MilvusWriter.

    Raises StartError where Milvus does not answer.
    """

    def __init__(self, rows: MilvusRows, log_days: float, ended: threading.Event | None = None) -> None:
        super().__init__(kind="milvus")
        self.log_days = log_days
        self.writer = MilvusWriter(rows, ended)
        self.rows = rows
        try:
            rows.connect()
            self.found = self._listed()
        except MilvusAway as error:
            rows.close()
            raise StartError(
                f"{error}; start it, correct RESIGHT_MILVUS_URI, or set RESIGHT_INDEX=exact"
            ) from error

    def of(self, store: Store, version: Version, centres: Centres | None) -> GalleryIndex:
        """See Indexes."""
        return self._made(StoredVectors(store, version, centres), None)

    def open(self, store: Store, version: Version, centres: Centres | None) -> GalleryIndex:
        """See Indexes. Goes on with the rows that Milvus has of the site; what it lacks is written, what it
        has too much is deleted. Raises StartError where Milvus does not answer."""
        spaces = self.found.get(version.site, {})
        space = max(spaces, key=lambda each: len(spaces[each]), default=None)
        digests = spaces.pop(space) if space is not None else {}
        index = self._made(StoredVectors(store, version, centres), space)
        written = 0
        for chunk in store.embeddings.of_site(version.site, version.raw_space_id):
            require_length(store, version, chunk.vectors)
            vectors = to_compare(centres, chunk.vectors, chunk.cameras, np.float16)
            written += index.add_stored(chunk.seqs, chunk.cameras, vectors, digests)
            self._write(index)  # now, so that memory holds no more than a chunk
        foreign = index.forget_others(digests)
        self._write(index)
        if written or foreign:
            log.warning(
                "site %s: %d rows were written to Milvus and %d deleted there, as the store has it",
                version.site,
                written,
                foreign,
            )
        return index

    def opened(self) -> None:
        """See Indexes. Deletes rows of sites and versions that are gone, and begins to write."""
        for site, spaces in self.found.items():
            for space in spaces:
                self.writer.drop(site, space)
        self.found = {}
        self.writer.start()

    def keeps_until(self) -> float | None:
        """See Indexes."""
        return time.time() + 86_400 * self.log_days

    def close(self) -> None:
        """Ends the writer."""
        super().close()
        self.writer.close()

    def _made(self, stored: StoredVectors, space: int | None) -> MilvusIndex:
        index = MilvusIndex(self.rows, self.writer, stored, space)
        # whoever searches an earlier version of a site holds its index; then nobody needs the rows any more
        weakref.finalize(index, self.writer.drop, index.site, index.space).atexit = False
        self.writer.watch(index)
        return index

    def _write(self, index: MilvusIndex) -> None:
        try:
            while index.write(at_once=True):
                pass
            index.write(at_once=True)
        except MilvusAway as error:
            raise StartError(str(error)) from error

    def _listed(self) -> dict[str, _Found]:
        """What Milvus has, by site."""
        found: dict[str, _Found] = defaultdict(lambda: defaultdict(dict))
        for row in self.rows.all():
            found[row.site][row.space][row.seq] = row.digest
        return {site: dict(spaces) for site, spaces in found.items()}
