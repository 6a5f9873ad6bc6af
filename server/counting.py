"""How many people a gallery shows: names, and of items without a name the clusters."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from reid.clusters import count_people
from server.gallery.store import Store
from server.labelled import Compare

MOST_COUNTED = 4096  # without a name, the newest, that are grouped: it takes a second or two of every core


def people_of_gallery(
    store: Store, site: str, compare: Compare, raw_space_id: str, floor_among: Callable[[int], float]
) -> int:
    """Identities of a site, and clusters of its items without one; an item that stands alone is a person too.
    Of too many such items the newest are grouped, and the others are taken to show as many people each.

    Args:
        raw_space_id: where embeddings are stored that `compare` takes.
        floor_among: the lowest cosine of two items that may belong together where there are so many people.
    """
    seqs, cameras = store.items.unnamed(site)
    newest, cameras_of_newest = seqs[-MOST_COUNTED:], cameras[-MOST_COUNTED:]
    rows, embedded = store.embeddings.vectors(newest.tolist(), raw_space_id)
    named, unnamed = store.items.count_identities(site), len(seqs)
    if len(rows) > 1:
        share = unnamed / len(rows)
        vectors = compare(embedded, [cameras_of_newest[row] for row in rows]).astype(np.float32)
        found = count_people(vectors, lambda people: floor_among(named + math.ceil(share * people)))
        unnamed = math.ceil(share * found)
    return named + unnamed
