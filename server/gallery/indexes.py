"""Opens the index of a site's version."""

from __future__ import annotations

from server.gallery.faiss_index import FaissIndex
from server.gallery.index import GalleryIndex
from server.gallery.records import Version
from server.gallery.store import Store


def new_index(dim: int) -> GalleryIndex:
    """An index of embeddings of this length that holds nothing."""
    return FaissIndex(dim)


def open_index(store: Store, version: Version) -> GalleryIndex:
    """An index of everything that the store holds of the version's site in the version's space."""
    index = new_index(version.dim)
    for chunk in store.embeddings.of_site(version.site, version.space_id):
        index.add(chunk.seqs, chunk.cameras, chunk.vectors)
    return index
