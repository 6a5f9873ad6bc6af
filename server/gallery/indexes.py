"""Opens the index of a site's version, for the CPU or with its rows on a GPU."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from reid.engines import Device, Fallbacks
from reid.engines.chooser import gpu_present
from reid.profile import Centres
from server.errors import StartError, StoreUnavailable
from server.gallery.faiss_index import FaissIndex
from server.gallery.gpu import Gpu
from server.gallery.gpu_index import GpuIndex
from server.gallery.gpu_probe import reason_against_gpu
from server.gallery.index import GalleryIndex
from server.gallery.int8_index import Int8Index
from server.gallery.records import Embedded, Version
from server.gallery.shortlist_builder import ShortlistBuilder
from server.gallery.shortlist_index import ShortlistIndex
from server.gallery.store import Store

log = logging.getLogger("resight")


class Indexes:
    """Makes indexes.

    Args:
        gpu: where rows are searched; None: the CPU alone. fallbacks: where it is noted that it was not.
        kind: of the CPU's: exact, int8, or FAISS's words for a `Shortlist`. least: items from which a site
            has a shortlist.
    """

    def __init__(
        self,
        gpu: Gpu | None = None,
        fallbacks: Fallbacks | None = None,
        kind: str = "exact",
        least: int = 1_000_000,
    ) -> None:
        self.gpu, self.fallbacks = gpu, fallbacks or Fallbacks()
        self.kind, self.least, self.builder = kind, least, ShortlistBuilder()

    def close(self) -> None:
        """Ends what is being built."""
        self.builder.close()

    def keeps_until(self) -> float | None:
        """Until when, at least, an index outside of this process keeps vectors that are erased now, in
        seconds since 1970; None: none is kept anywhere."""
        return None

    def opened(self) -> None:
        """Every site of the store has its index by now."""

    @property
    def device(self) -> str:
        """cpu or gpu."""
        return "cpu" if self.gpu is None else "gpu"

    def new(self, dim: int) -> GalleryIndex:
        """An index of embeddings of this length that holds nothing."""
        if self.gpu is not None:
            return GpuIndex(dim, self.gpu, self.fallbacks)
        if self.kind == "exact":
            return FaissIndex(dim)
        return (
            Int8Index(dim)
            if self.kind == "int8"
            else ShortlistIndex(dim, self.kind, self.least, self.builder)
        )

    def of(self, store: Store, version: Version, centres: Centres | None) -> GalleryIndex:
        """An index of a version's site that holds nothing yet; what is added is in the store already."""
        return self.new(version.dim)

    def open(self, store: Store, version: Version, centres: Centres | None) -> GalleryIndex:
        """An index of everything that the store holds of the version's site in the version's raw space, as
        the centres say that it is compared."""
        index = self.of(store, version, centres)
        add_stored(index, store, version, centres)
        return index


def choose_indexes(
    search: str, device: Device, fallbacks: Fallbacks, kind: str = "exact", least: int = 1_000_000
) -> Indexes:
    """Indexes for the CPU, or for a GPU that FAISS was tried on.

    Args:
        search: cpu; gpu; auto is the GPU where there is one that FAISS can use, and notes why it cannot.
        device: cpu forbids `auto` the GPU. kind, least: see `Indexes`.

    Raises StartError where `gpu` cannot be had.
    """
    if search == "cpu" or (search == "auto" and (device == "cpu" or not gpu_present())):
        return Indexes(kind=kind, least=least)
    reason = reason_against_gpu()
    if reason is None:
        return Indexes(Gpu(), fallbacks)
    if search == "gpu":
        raise StartError(f"galleries cannot be searched on a GPU: {reason}; or set RESIGHT_SEARCH=cpu")
    log.warning("galleries are searched by the CPU: %s", reason)
    fallbacks.note("galleries searched by the CPU instead of the GPU", reason)
    return Indexes(kind=kind, least=least)


def add_stored(
    index: GalleryIndex, store: Store, version: Version, centres: Centres | None, after: int = 0
) -> None:
    """Adds to an index what the store holds behind seq `after`."""
    for chunk in store.embeddings.of_site(version.site, version.raw_space_id, after=after):
        require_length(store, version, chunk.vectors)
        add_chunk(index, chunk, centres)


def require_length(store: Store, version: Version, vectors: np.ndarray) -> None:
    """Raises StoreUnavailable for stored vectors float [N,D] of another length than the version's."""
    if vectors.shape[1] != version.dim:
        raise StoreUnavailable(
            f"{store.database.title} is damaged: embeddings of site {version.site!r} have "
            f"{vectors.shape[1]} values and not {version.dim}; restore it from a backup"
        )


def add_chunk(index: GalleryIndex, chunk: Embedded, centres: Centres | None) -> None:
    """Adds embeddings of the index's raw space, as the centres say that they are compared."""
    # in half precision, as the index keeps them
    vectors = to_compare(centres, chunk.vectors, chunk.cameras, np.float16)
    index.add(chunk.seqs, chunk.cameras, vectors)


def to_compare(
    centres: Centres | None,
    vectors: np.ndarray,
    cameras: Sequence[str | None],
    dtype: type[np.floating] = np.float32,
) -> np.ndarray:
    """float [N,D] as embedded, the camera of each -> [N,D], unit length, to be compared: of `dtype` where
    they are centred, otherwise as they are."""
    return vectors if centres is None else centres.compare(vectors, cameras, dtype)
