"""Opens the index of a site's version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid.profile import Centres
from server.errors import StoreUnavailable
from server.gallery.faiss_index import FaissIndex
from server.gallery.index import GalleryIndex
from server.gallery.records import Embedded, Version
from server.gallery.store import Store


def new_index(dim: int) -> GalleryIndex:
    """An index of embeddings of this length that holds nothing."""
    return FaissIndex(dim)


def open_index(store: Store, version: Version, centres: Centres | None) -> GalleryIndex:
    """An index of everything that the store holds of the version's site in the version's raw space, as the
    centres say that it is compared."""
    index = new_index(version.dim)
    add_stored(index, store, version, centres)
    return index


def add_stored(
    index: GalleryIndex, store: Store, version: Version, centres: Centres | None, after: int = 0
) -> None:
    """Adds to an index what the store holds behind seq `after`."""
    for chunk in store.embeddings.of_site(version.site, version.raw_space_id, after=after):
        if chunk.vectors.shape[1] != version.dim:
            raise StoreUnavailable(
                f"{store.database.title} is damaged: embeddings of site {version.site!r} have "
                f"{chunk.vectors.shape[1]} values and not {version.dim}; restore it from a backup"
            )
        add_chunk(index, chunk, centres)


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
