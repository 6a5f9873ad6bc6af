"""Who belongs together of the people without a name, as queries by person look it up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from server.gallery.store import Store

_OLDEST = 4  # items of a cluster that are read first to tell what it is called


@dataclasses.dataclass(frozen=True)
class UnknownPeople:
    """The clusters of one moment of a site, a part of its state: whoever took the state ranks by these and no
    others. Items that came since are in none.

    Args:
        seqs: int64 [N], ascending, of the items that are in a cluster. firsts: int64 [N], the oldest item of
            each one's cluster.
        floor: the least cosine they were made by. changes: `Site.changes` before they were made.
    """

    seqs: np.ndarray
    firsts: np.ndarray
    floor: float
    changes: int

    @classmethod
    def of_members(cls, members: Sequence[np.ndarray], floor: float, changes: int) -> UnknownPeople:
        """Of clusters.

        Args:
            members: int64 seqs of each, ascending.
        """
        seqs = np.concatenate([np.empty(0, np.int64), *members])
        firsts = np.repeat(np.array([each[0] for each in members], np.int64), [len(each) for each in members])
        order = np.argsort(seqs)
        return cls(seqs[order], firsts[order], floor, changes)

    def cluster_of(self, seqs: Sequence[int]) -> dict[int, int]:
        """The clusters of those items that are in one, by the oldest item that each had when it was made."""
        if not len(self.seqs):
            return {}
        asked = np.array(seqs, np.int64)
        places = np.minimum(np.searchsorted(self.seqs, asked), len(self.seqs) - 1)
        inside = self.seqs[places] == asked
        return dict(zip(asked[inside].tolist(), self.firsts[places[inside]].tolist(), strict=True))

    def members(self, first: int) -> np.ndarray:
        """int64 seqs of a cluster, ascending; some may have been erased or named since."""
        return self.seqs[self.firsts == first]

    def without(self, seqs: Sequence[int]) -> UnknownPeople:
        """The same, some items being in no cluster any more: they are compared otherwise now."""
        kept = ~np.isin(self.seqs, np.array(seqs, np.int64))
        return dataclasses.replace(self, seqs=self.seqs[kept], firsts=self.firsts[kept])


def names_of_clusters(store: Store, unknown: UnknownPeople, seqs: Iterable[int]) -> dict[int, str]:
    """What the clusters of those items that are in one are called, by seq: the id of the oldest item that is
    still without a name. Where there is but one such item, it stands alone."""
    clusters = unknown.cluster_of(list(seqs))
    members = {first: unknown.members(first).tolist() for first in set(clusters.values())}
    oldest = store.items.unnamed_ids([seq for each in members.values() for seq in each[:_OLDEST]])
    called: dict[int, str] = {}
    for first, each in members.items():
        left = [seq for seq in each[:_OLDEST] if seq in oldest]
        if len(left) < 2 and len(each) > _OLDEST:
            oldest |= store.items.unnamed_ids(each)
            left = [seq for seq in each if seq in oldest]
        if len(left) > 1:
            called[first] = oldest[left[0]]
    return {seq: called[first] for seq, first in clusters.items() if first in called}
