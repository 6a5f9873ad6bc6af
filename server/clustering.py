"""Unknown people: items without a name that look like one person, and naming them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import sqlalchemy as sa

from reid.clusters import clusters_of, least_cosine
from server.correcting import Corrected, Correcting
from server.errors import BadRequest, Conflict, NotFound
from server.fields import cosine
from server.gallery import changes
from server.gallery.changes import Cell, Change
from server.gallery.index import SCORE_DIGITS, SearchFilter
from server.gallery.records import Item
from server.gallery.store import Store
from server.items import require_item
from server.sites import Site, Sites, SiteState
from server.thresholds import report_of
from server.unknown import UnknownPeople

MOST_GROUPED = 20_000  # the newest, that are looked at: time grows with their square
_MOST_LISTED, _MOST_SHOWN = 200, 1000  # clusters of one page; items of one
_GUESS = 0.5  # the floor where nothing says what scores mean
_KEPT = 16  # sites whose clusters are kept
_REST = 10  # times as long as clusters took, until queries have them made again
log = logging.getLogger("resight")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The named person whom a cluster looks most like; `score` is a cosine."""

    identity: str
    score: float


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Items that look like one person without a name.

    Args:
        cluster: id of its oldest item, by which it is named. feature: id of the item that is most like all.
        first_seen, last_seen: seconds since 1970; None where no item has a time.
        nearest: None where nobody has a name.
    """

    cluster: str
    items: int
    cameras: list[str]
    first_seen: float | None
    last_seen: float | None
    feature: str
    nearest: Nearest | None


@dataclasses.dataclass(frozen=True)
class Clusters:
    """A page of clusters, the largest first.

    Args:
        unnamed: items of the site without a name. looked_at: how many of them were grouped, the newest.
        threshold: the lowest cosine of two items that may belong together. guess: whether that does not rest
            on labels of the site.
        cursor: of the next page; None on the last.
    """

    clusters: list[Cluster]
    unnamed: int
    looked_at: int
    threshold: float
    guess: bool
    cursor: str | None


@dataclasses.dataclass(frozen=True)
class Members:
    """A cluster with a page of its items, the oldest first."""

    cluster: Cluster
    items: list[Item]
    cursor: str | None


@dataclasses.dataclass(frozen=True)
class Grouped:
    """The clusters of some items as one version compares them.

    Args:
        of: what they are the clusters of. seqs, cameras: of the items that were looked at.
        members: int64 seqs of each cluster, ascending; the largest cluster first.
        means: float32 [C,D], unit length. features: the seq in each that is nearest to its mean.
    """

    of: tuple[object, ...]
    seqs: np.ndarray
    cameras: Sequence[str | None]
    members: list[np.ndarray]
    means: np.ndarray
    features: list[int]


class Clustering:
    """The use cases. Clusters are made when somebody asks for them, one site at a time in a thread of its
    own, and kept until an unnamed item comes, a part of a cluster goes, or an item is compared otherwise.
    Those by the site's own least cosine become a part of its state, by which queries by person go."""

    def __init__(self, store: Store, sites: Sites, correcting: Correcting) -> None:
        self.store, self.sites, self.correcting = store, sites, correcting
        self.kept: OrderedDict[str, Grouped] = OrderedDict()  # by site; of the worker alone
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="cluster")
        self.lock = threading.Lock()  # of the next one
        self.awaited: set[str] = set()  # sites whose clusters are being made, or wait for that
        # by site: the version whose clusters were made last, and until when on the monotonic clock they rest
        self.rests: dict[str, tuple[int, float]] = {}

    def close(self) -> None:
        """Finishes what is being grouped, and begins nothing that waits."""
        self.worker.shutdown(wait=True, cancel_futures=True)

    async def page(
        self, site_name: str, cursor: str | None, limit: int, threshold: float | None = None
    ) -> Clusters:
        """Clusters of a site, the largest first, two items at least in each.

        Args:
            cursor: id of an item of the cluster that the page begins behind.
            threshold: the lowest cosine of two items that may belong together; None: what the site's
                calibration says.
        """
        site = self.sites.get(site_name)
        if not 1 <= limit <= _MOST_LISTED:
            raise BadRequest(f"limit is {limit}; it must lie between 1 and {_MOST_LISTED}")
        if threshold is not None:
            cosine(threshold)
        return await self.in_worker(lambda: self._page(site, cursor, limit, threshold))

    async def members(
        self, site_name: str, item_id: str, cursor: str | None, limit: int, threshold: float | None = None
    ) -> Members:
        """The cluster of an item, with its items. Raises NotFound for an item that is in none.

        Args:
            cursor: id of the item that the page begins behind.
        """
        site = self.sites.get(site_name)
        if not 1 <= limit <= _MOST_SHOWN:
            raise BadRequest(f"limit is {limit}; it must lie between 1 and {_MOST_SHOWN}")
        if threshold is not None:
            cosine(threshold)
        return await self.in_worker(lambda: self._members(site, item_id, cursor, limit, threshold))

    async def name(
        self,
        site_name: str,
        item_id: str,
        identity: str | None,
        items: int | None,
        actor: str,
        threshold: float | None = None,
    ) -> Corrected:
        """Gives all items of an item's cluster a name, which somebody may have already.

        Args:
            items: how many items of the cluster the caller has seen; a Conflict where it has others by now.

        Raises NotFound for an item that is in no cluster, Conflict where one of the items has got a name.
        """
        site = self.sites.get(site_name)
        if identity is None:
            raise BadRequest("identity is missing; say who the items show")
        if threshold is not None:
            cosine(threshold)
        seqs = await self.in_worker(lambda: self._seqs(site, item_id, threshold))
        if items is not None and items != len(seqs):
            raise Conflict(
                f"the cluster of item {item_id!r} has {len(seqs)} items by now, and you have seen {items}; "
                "look at it again",
                items=len(seqs),
            )

        def plan(db: sa.Connection) -> list[Change]:
            present = changes.items_by_seq(db, seqs.tolist())
            for item in present.values():
                if item.identity is not None:
                    raise Conflict(
                        f"item {item.id!r} has been named {item.identity!r} meanwhile; nothing was changed"
                    )
            return [Change(Cell("identity", seq), None, identity) for seq in sorted(present)]

        return await self.correcting.apply(site, actor, "name", plan)

    def keep_up(self, site: Site) -> None:
        """Has clusters made for the queries to come, where the site's state has none or items came, went or
        were corrected since; nobody waits for them. After that the same version has none made for ten times
        as long as it took."""
        state, name = site.state, site.name
        known = state.unknown
        if known is not None and known.changes == site.changes and known.floor == floor_of(state)[0]:
            return
        with self.lock:
            version, until = self.rests.get(name, (0, 0.0))
            rests = version == state.version.version and time.monotonic() < until
            if name in self.awaited or rests:
                return
            self.awaited.add(name)
        try:
            self.worker.submit(self._keep_up, site)
        except RuntimeError:  # the server ends
            self.awaited.discard(name)

    def _keep_up(self, site: Site) -> None:
        began, state = time.monotonic(), site.state
        try:
            self.grouped(site, state, floor_of(state)[0])
        except Exception:  # queries go on without clusters
            log.exception("people without a name of site %s could not be grouped", site.name)
        ended = time.monotonic()
        self.rests[site.name] = state.version.version, ended + _REST * (ended - began)
        self.awaited.discard(site.name)

    async def seqs(self, site_name: str, item_id: str) -> np.ndarray:
        """int64, ascending: the items of an item's cluster. Raises NotFound for an item that is in none."""
        site = self.sites.get(site_name)
        return await self.in_worker(lambda: self._seqs(site, item_id, None))

    async def in_worker(self, work: Callable[[], T]) -> T:
        """What `work` returns, in the thread in which clusters are made: one site at a time."""
        return await asyncio.get_running_loop().run_in_executor(self.worker, work)

    def _page(self, site: Site, cursor: str | None, limit: int, threshold: float | None) -> Clusters:
        state = site.state
        floor, guess = _floor(state, threshold)
        grouped, unnamed = self.grouped(site, state, floor)
        start = 0
        if cursor is not None:
            number = self._number(site, grouped, cursor)
            if number is None:
                raise BadRequest(f"cursor {cursor[:80]!r} is in no cluster any more; list from the beginning")
            start = number + 1
        shown = list(range(start, min(start + limit, len(grouped.members))))
        clusters = self._described(site, state, grouped, shown)
        more = bool(clusters) and start + limit < len(grouped.members)
        looked_at = min(unnamed, MOST_GROUPED)
        following = clusters[-1].cluster if more else None
        return Clusters(clusters, unnamed, looked_at, round(floor, 4), guess, following)

    def _members(
        self, site: Site, item_id: str, cursor: str | None, limit: int, threshold: float | None
    ) -> Members:
        state = site.state
        grouped, _ = self.grouped(site, state, _floor(state, threshold)[0])
        number = self._require(site, grouped, item_id)
        seqs = grouped.members[number]
        if cursor is not None:
            seqs = seqs[seqs > require_item(self.store, cursor, site.name).seq]
        by_seq = self.store.items.by_seq(seqs[:limit].tolist())
        items = [by_seq[seq] for seq in seqs[:limit].tolist() if seq in by_seq]
        described = self._described(site, state, grouped, [number])
        if not described:
            raise _no_cluster(site, item_id)
        return Members(described[0], items, items[-1].id if items and len(seqs) > limit else None)

    def _seqs(self, site: Site, item_id: str, threshold: float | None) -> np.ndarray:
        state = site.state
        grouped, _ = self.grouped(site, state, _floor(state, threshold)[0])
        return grouped.members[self._require(site, grouped, item_id)]

    def _require(self, site: Site, grouped: Grouped, item_id: str) -> int:
        """The number of an item's cluster. Raises NotFound."""
        number = self._number(site, grouped, item_id)
        if number is None:
            raise _no_cluster(site, item_id)
        return number

    def _number(self, site: Site, grouped: Grouped, item_id: str) -> int | None:
        """The number of an item's cluster; None for one that is in none. Raises NotFound for no item."""
        seq = require_item(self.store, item_id, site.name).seq
        for number, seqs in enumerate(grouped.members):
            place = int(np.searchsorted(seqs, seq))
            if place < len(seqs) and seqs[place] == seq:
                return number
        return None

    def grouped(self, site: Site, state: SiteState, floor: float) -> tuple[Grouped, int]:
        """The clusters of a site's unnamed items, and how many these are. Call it in the worker."""
        changed, moves = site.changes, site.moves
        seqs, cameras = self.store.items.unnamed(site.name)
        unnamed = len(seqs)
        seqs, cameras = seqs[-MOST_GROUPED:], cameras[-MOST_GROUPED:]
        of = (state.version.version, floor, seqs.tobytes(), tuple(cameras))
        kept = self.kept.get(site.name)
        if kept is None or kept.of != of:
            left = without_gone(kept, of, seqs, cameras)
            kept = left or group(of, seqs, cameras, site.vectors(state, seqs), floor)
            self.kept[site.name] = kept
        self.kept.move_to_end(site.name)
        while len(self.kept) > _KEPT:
            self.kept.popitem(last=False)
        if floor == floor_of(state)[0]:
            self._publish(site, state, UnknownPeople.of_members(kept.members, floor, changed), moves)
        return kept, unnamed

    def _publish(self, site: Site, state: SiteState, made: UnknownPeople, moves: int) -> None:
        """Gives clusters to the site's state, unless it is another version by now or compares some of the
        items otherwise."""
        with site.lock:
            if site.state.version.version == state.version.version and site.moves == moves:
                site.state = dataclasses.replace(site.state, unknown=made)

    def _described(
        self, site: Site, state: SiteState, grouped: Grouped, numbers: Sequence[int]
    ) -> list[Cluster]:
        """Clusters as callers see them, without items that were erased by now."""
        named = self.store.items.named(site.name)
        hidden = self.store.people.left_out(site.name, None, include_hidden=False)
        described = []
        for number in numbers:
            by_seq = self.store.items.by_seq(grouped.members[number].tolist())
            items = [by_seq[seq] for seq in sorted(by_seq)]
            if len(items) < 2:
                continue
            times = [item.captured_at for item in items if item.captured_at is not None]
            picture = by_seq.get(grouped.features[number], items[0])
            nearest = self._nearest(state, grouped.means[number], named, hidden) if len(named) else None
            described.append(
                Cluster(
                    items[0].id,
                    len(items),
                    sorted({item.camera for item in items if item.camera is not None}),
                    min(times, default=None),
                    max(times, default=None),
                    picture.id,
                    nearest,
                )
            )
        return described

    def _nearest(
        self, state: SiteState, mean: np.ndarray, named: np.ndarray, hidden: np.ndarray
    ) -> Nearest | None:
        conditions = SearchFilter(allowed=named, left_out=hidden if len(hidden) else None)
        scores, seqs = state.index.search(mean, 1, conditions)
        if not len(seqs):
            return None
        identity = self.store.items.identities([int(seqs[0])]).get(int(seqs[0]))
        return None if identity is None else Nearest(identity, round(float(scores[0]), SCORE_DIGITS))


def group(
    of: tuple[object, ...],
    seqs: np.ndarray,
    cameras: Sequence[str | None],
    held: tuple[np.ndarray, np.ndarray],
    floor: float,
) -> Grouped:
    """Clusters, made anew.

    Args:
        held: rows of items that have a vector, and float32 [N,D] of these, unit length.
    """
    rows, vectors = held
    if not len(rows):
        return Grouped(of, seqs, cameras, [], vectors, [])
    numbers, of_rows = clusters_of(vectors, floor), seqs[rows]
    clusters = []
    for number in range(int(numbers.max(initial=-1)) + 1):
        inside = np.flatnonzero(numbers == number)
        mean = vectors[inside].mean(axis=0)
        mean /= max(float(np.linalg.norm(mean)), 1e-6)
        feature = inside[int(np.argmax(vectors[inside] @ mean))]
        clusters.append((of_rows[inside], mean, int(of_rows[feature])))
    clusters.sort(key=lambda cluster: (-len(cluster[0]), int(cluster[0][0])))
    means = np.array([mean for _, mean, _ in clusters], np.float32).reshape(len(clusters), vectors.shape[1])
    members, features = [each for each, _, _ in clusters], [seq for *_, seq in clusters]
    return Grouped(of, seqs, cameras, members, means, features)


def without_gone(
    kept: Grouped | None, of: tuple[object, ...], seqs: np.ndarray, cameras: Sequence[str | None]
) -> Grouped | None:
    """Kept clusters without those whose items have all got a name or were erased; None where anything else
    has changed. Where there are more than `MOST_GROUPED`, older ones move up: they stand alone until clusters
    are made."""
    if kept is None or kept.of[:2] != of[:2] or not len(kept.seqs):
        return None
    before = dict(zip(kept.seqs.tolist(), kept.cameras, strict=True))
    oldest = kept.seqs[0] if len(seqs) >= MOST_GROUPED else 0
    now = {seq: camera for seq, camera in zip(seqs.tolist(), cameras, strict=True) if seq >= oldest}
    if now.items() - before.items():
        return None
    gone = before.keys() - now.keys()
    lost = [len(gone.intersection(members.tolist())) for members in kept.members]
    if any(count not in (0, len(members)) for count, members in zip(lost, kept.members, strict=True)):
        return None
    left = [number for number, count in enumerate(lost) if not count]
    members, features = [kept.members[number] for number in left], [kept.features[number] for number in left]
    return Grouped(of, np.array(list(now), np.int64), list(now.values()), members, kept.means[left], features)


def _floor(state: SiteState, threshold: float | None) -> tuple[float, bool]:
    """What the caller says, or what `floor_of` says."""
    return (threshold, False) if threshold is not None else floor_of(state)


def floor_of(state: SiteState) -> tuple[float, bool]:
    """The cosine at which one best match in ten is right, as far as is known, and whether that is a guess."""
    known = state.version.calibration
    if known is None:
        return _GUESS, True
    report = report_of(known, len(state.index))
    guess = report.guess or report.space_id != state.version.space_id
    return least_cosine(report.slope, report.intercept), guess


def _no_cluster(site: Site, item_id: str) -> NotFound:
    return NotFound(
        f"item {item_id[:80]!r} is in no cluster of site {site.name!r}: it has a name, or stands alone"
    )
