"""Maps of crops: where the items of a person or of a cluster lie to each other, in two dimensions."""

from __future__ import annotations

import dataclasses

import numpy as np

from reid.plane import plane_of
from server.clustering import Clustering
from server.errors import BadRequest
from server.gallery import people
from server.gallery.store import Store
from server.sites import Site, Sites

MOST_POINTS = 2000
_DIGITS = 5


@dataclasses.dataclass(frozen=True)
class Point:
    """Where an item lies; distances are those of unit vectors, flattened."""

    item: str
    camera: str | None
    x: float
    y: float


@dataclasses.dataclass(frozen=True)
class CropMap:
    """Items that lie the nearer to each other the more alike they are.

    Args:
        points: of items that have an embedding, the oldest first; at most MOST_POINTS, at equal distances in
            the order of enrolling.
        items: how many the person or the cluster has.
        shown: the share of all differences between the items that each axis shows, [2].
    """

    site: str
    points: list[Point]
    items: int
    shown: list[float]


class Maps:
    """The use case. Maps are made in the thread that makes clusters, one at a time."""

    def __init__(self, store: Store, sites: Sites, clustering: Clustering) -> None:
        self.store, self.sites, self.clustering = store, sites, clustering

    async def of(self, site_name: str, identity: str | None, cluster: str | None) -> CropMap:
        """The map of a person's items, or of the cluster of an item.

        Args:
            cluster: id of any item of the cluster.

        Raises BadRequest unless one of both is named, NotFound where there is no such person or cluster.
        """
        site = self.sites.get(site_name)
        if (identity is None) == (cluster is None):
            raise BadRequest("send either identity or cluster: a person's name, or an item of a cluster")
        seqs = await self.clustering.seqs(site_name, cluster) if cluster is not None else None
        return await self.clustering.in_worker(lambda: self._made(site, seqs, identity))

    def _made(self, site: Site, seqs: np.ndarray | None, identity: str | None) -> CropMap:
        state = site.state
        if seqs is None:
            with self.store.database.read() as db:
                seqs = np.array(people.require_person(db, site.name, identity or ""), np.int64)
        some = seqs
        if len(seqs) > MOST_POINTS:
            some = seqs[np.linspace(0, len(seqs) - 1, MOST_POINTS).astype(int)]
        items = self.store.items.by_seq(some.tolist())
        present = np.array([seq for seq in some.tolist() if seq in items], np.int64)
        rows, vectors = site.vectors(state, present)
        places, shown = plane_of(vectors)
        points = []
        for row, (x, y) in zip(rows.tolist(), places.tolist(), strict=True):
            item = items[int(present[row])]
            points.append(Point(item.id, item.camera, round(x, _DIGITS), round(y, _DIGITS)))
        return CropMap(site.name, points, len(seqs), [round(share, 4) for share in shown.tolist()])
