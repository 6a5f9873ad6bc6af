"""Query: a crop, a tracklet, their vectors or an enrolled item -> the gallery's items or people, ranked."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from reid.nearest_reranking import rerank_nearest
from server.batching import EmbedError
from server.clustering import Clustering
from server.embedding import Embedding
from server.errors import BadRequest, Conflict, TooLarge, Unprocessable
from server.fields import AllowedAlarms, cosine
from server.gallery.filters import ItemFilter
from server.gallery.index import SearchFilter
from server.gallery.records import Item
from server.gallery.store import Store
from server.items import require_item
from server.people import EVIDENCE, Match, People, by_person, decide, rows_of_people
from server.sent_vectors import require_space, unit_vectors
from server.settings import Settings
from server.sites import Sites, SiteState
from server.thresholds import calibration_of, report_of, threshold_for
from server.unknown import names_of_clusters

_FEWEST_GROUPED = 256  # nearest items in which people are looked for first
_RERANKED = 200  # nearest items that `rerank` puts into another order
_MORE_GROUPED = 8  # times as many, where these show too few people


@dataclasses.dataclass(frozen=True)
class Answer:
    """A query's ranking, all of one version: of items, or of people with `matches` empty.

    Args:
        threshold: lowest cosine that was looked for; None where there was none.
    """

    site: str
    version: int
    space_id: str
    matches: list[Match]
    seconds: dict[str, float]
    people: People | None = None
    threshold: float | None = None

    def without_metadata(self) -> Answer:
        """The same, its items with empty metadata: a shorter answer."""
        people = self.people.without_metadata() if self.people is not None else None
        matches = [match.without_metadata() for match in self.matches]
        return dataclasses.replace(self, matches=matches, people=people)


class Querying:
    """The use case. Raises `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(
        self, settings: Settings, store: Store, sites: Sites, embedding: Embedding, clustering: Clustering
    ) -> None:
        self.settings, self.store, self.sites, self.embedding = settings, store, sites, embedding
        self.clustering = clustering
        self.searchers = ThreadPoolExecutor(4, thread_name_prefix="search")

    def close(self) -> None:
        """Finishes the searches that run."""
        self.searchers.shutdown(wait=True)

    async def query(
        self,
        site_name: str,
        images: Sequence[bytes] = (),
        item_id: str | None = None,
        top_k: int = 10,
        where: ItemFilter | None = None,
        query_camera: str | None = None,
        exclude_same_camera: bool = False,
        threshold: float | AllowedAlarms | None = None,
        group_by: str | None = None,
        include_hidden: bool = False,
        vectors: Sequence[np.ndarray] = (),
        raw_space_id: str | None = None,
        rerank: bool = False,
    ) -> Answer:
        """Ranks a site's gallery for a crop, a tracklet (its embeddings are averaged) or an enrolled item,
        which is no match of its own.

        Args:
            vectors: float [D] each, of such crops instead of images, as they were embedded at `query_camera`.
                raw_space_id: of these vectors.
            query_camera: where the query was seen, whose table and centre it gets; an enrolled item brings
                its own. Without one, the site's.
            exclude_same_camera: leaves out that camera's items.
            threshold: lowest cosine that is returned, or the false alarms that are allowed.
            group_by: "identity" ranks people instead of items, `top_k` of them: those among the nearest
                items, of which as many are looked at as are needed, but no more than `max_top_k` allows.
                Items without a name belong to the clusters that the site's state has; a query has lacking
                ones made for those to come.
            include_hidden: hidden people count too.
            rerank: puts the nearest `_RERANKED` items in the order of the neighbours that they share with the
                query; their scores stay cosines, and items behind them keep their places.
        """
        if group_by not in (None, "identity"):
            raise BadRequest(f"group_by is {group_by[:80]!r}; send identity, or leave it out")
        if rerank and group_by:
            raise BadRequest("rerank is for items and group_by for people; leave one of them out")
        if bool(images) + bool(item_id) + bool(vectors) != 1:
            raise BadRequest(
                "send either images (one crop, or the crops of one tracklet), the vectors of such crops, or "
                "item_id"
            )
        if raw_space_id and not vectors:
            raise BadRequest("raw_space_id says of which space vectors are; leave it out where none are sent")
        if not 1 <= top_k <= self.settings.max_top_k:
            raise BadRequest(f"top_k is {top_k}; it must lie between 1 and {self.settings.max_top_k}")
        if threshold is not None and not isinstance(threshold, AllowedAlarms):
            cosine(threshold)
        for sent, what in ((images, "images"), (vectors, "vectors")):
            if len(sent) > self.settings.max_tracklet:
                raise TooLarge(
                    f"{len(sent)} {what} in one query; a tracklet may have {self.settings.max_tracklet}"
                )
        site = self.sites.get(site_name)
        state = site.state  # taken once: everything below is of this version
        lowest: float | None
        if isinstance(threshold, AllowedAlarms):
            lowest = threshold_for(state.version, threshold.per_1000, len(state.index))
        else:
            lowest = threshold
        seconds: dict[str, float] = {}
        item: Item | None = None
        if item_id:
            item = await asyncio.to_thread(require_item, self.store, item_id, site_name)
            query_camera = _one_camera(query_camera, item)
            vector = await self._stored_vector(state, item)
        elif vectors:
            require_space(state.version, raw_space_id)
            given, _ = unit_vectors(vectors, state.version.dim)
            vector = _mean(state, given, query_camera)
        else:
            vector = await self._embedded_vector(state, images, query_camera, seconds)
        if exclude_same_camera and query_camera is None:
            raise BadRequest("exclude_same_camera needs the query's camera: send query_camera")
        began = time.perf_counter()
        search = _Search(
            state,
            vector,
            where or ItemFilter(),
            query_camera if exclude_same_camera else None,
            lowest,
            item,
            include_hidden,
        )
        loop = asyncio.get_running_loop()
        matches: list[Match] = []
        people: People | None = None
        if group_by:
            people = await loop.run_in_executor(self.searchers, self._people, search, top_k)
            self.clustering.keep_up(site)
        else:
            rank = self._reranked if rerank else self._items
            matches = await loop.run_in_executor(self.searchers, rank, search, top_k)
        seconds["search"] = time.perf_counter() - began
        version = state.version
        return Answer(site_name, version.version, version.space_id, matches, seconds, people, lowest)

    async def _stored_vector(self, state: SiteState, item: Item) -> np.ndarray:
        """float32 [D], unit length, of an enrolled item, compared as the index of `state` holds it."""
        vector = await asyncio.to_thread(self.store.embeddings.get, item.seq, state.version.raw_space_id)
        if vector is None:
            raise Conflict(
                f"item {item.id!r} is not embedded in the version that was live when this query began; ask "
                f"again"
            )
        return state.compare(vector[None], [item.camera])[0]

    async def _embedded_vector(
        self, state: SiteState, images: Sequence[bytes], camera: str | None, seconds: dict[str, float]
    ) -> np.ndarray:
        """float32 [D], unit length: the mean of what is compared of the crops, all of one camera."""
        began = time.perf_counter()
        crops, _ = await self.embedding.decode(images)
        seconds["decode"] = time.perf_counter() - began
        began = time.perf_counter()
        try:
            cameras = [camera] * len(crops)
            vectors = await self.embedding.embed(state.version.profile_id, crops, cameras, "interactive")
        except EmbedError as error:
            row, why = next(iter(error.rows.items()))
            raise Unprocessable(f"image {row}: {why}", index=row) from error
        mean = _mean(state, vectors, camera)
        seconds["embed"] = time.perf_counter() - began
        return mean

    def _items(self, search: _Search, top_k: int) -> list[Match]:
        """The nearest items."""
        return self._matches(*self._nearest(search, self._conditions(search), top_k))

    def _reranked(self, search: _Search, top_k: int) -> list[Match]:
        """The nearest items, the first of them re-ranked. An item below the threshold is no match, but one of
        the neighbours by whom the others are ranked."""
        lowest = -math.inf if search.threshold is None else search.threshold
        search = dataclasses.replace(search, threshold=None)
        scores, seqs = self._nearest(search, self._conditions(search), max(top_k, _RERANKED))
        held, vectors = search.state.index.vectors(seqs[:_RERANKED])
        distances = np.full(len(seqs), np.inf, np.float32)  # of what lies behind, or was erased meanwhile
        distances[: len(held)][held] = rerank_nearest(search.vector, vectors)
        order = np.argsort(distances, kind="stable")
        order = order[scores[order] >= lowest][:top_k]
        return self._matches(scores[order], seqs[order])

    def _matches(self, scores: np.ndarray, seqs: np.ndarray) -> list[Match]:
        """Ranked items float64 [n] and int64 [n], as callers see them."""
        items = self.store.items.by_seq(seqs.tolist())
        matches: list[Match] = []
        for score, seq in zip(scores.tolist(), seqs.tolist(), strict=True):
            if seq in items:  # otherwise it was erased while this query ran
                matches.append(Match(len(matches) + 1, score, items[seq]))
        return matches

    def _people(self, search: _Search, top_k: int) -> People:
        """The nearest people. One more than is shown is looked for, also below the threshold: it says how far
        the last is ahead, and whether a second person fits.

        Where few people have many items, all of these are looked at; so only those that are shown are read
        whole.
        """
        threshold = -math.inf if search.threshold is None else search.threshold
        search = dataclasses.replace(search, threshold=None)
        conditions = self._conditions(search)
        most = self.settings.max_top_k
        count = min(most, max(_FEWEST_GROUPED, 2 * top_k))
        identities: dict[int, str | None] = {}
        while True:
            scores, seqs = self._nearest(search, conditions, count)
            identities |= self.store.items.identities([s for s in seqs.tolist() if s not in identities])
            ranked = []  # without items that were erased while this query ran
            for score, seq in zip(scores.tolist(), seqs.tolist(), strict=True):
                if seq in identities:
                    ranked.append((score, seq))
            who = [seq for _, seq in ranked]
            clusters = search.state.unknown.cluster_of(who) if search.state.unknown is not None else {}
            people = rows_of_people([identities[seq] for seq in who], [clusters.get(seq) for seq in who])
            enough = len(people) > top_k or (len(people) > 1 and ranked[people[-1][0]][0] < threshold)
            if enough or len(seqs) < count or count == most:
                break
            count = min(most, count * _MORE_GROUPED)
        shown = sorted(row for rows in people[: top_k + 1] for row in rows[:EVIDENCE])
        items = self.store.items.by_seq([ranked[row][1] for row in shown])
        matches = []
        for row in shown:
            score, seq = ranked[row]
            if seq in items:
                matches.append(Match(row + 1, score, items[seq]))
        known = calibration_of(search.state.version)
        calibration = None
        if known is not None:
            calibration = report_of(known, len(search.state.index)).model_dump()
        unknown = search.state.unknown
        called = names_of_clusters(self.store, unknown, items) if unknown is not None else {}
        return decide(by_person(matches, called), top_k, calibration, threshold)

    def _conditions(self, search: _Search) -> SearchFilter:
        where, site = search.where, search.state.version.site
        left_out = self.store.people.left_out(site, search.query_item, search.include_hidden)
        always = SearchFilter(
            exclude_camera=search.exclude_camera, left_out=left_out if len(left_out) else None
        )
        if where.is_open or where.only_camera is not None:
            return dataclasses.replace(always, camera=where.only_camera)
        return dataclasses.replace(always, allowed=self.store.items.seqs(site, where))

    def _nearest(
        self, search: _Search, conditions: SearchFilter, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(scores float64 [n], seqs int64 [n]), n <= count, as `GalleryIndex.search` returns them."""
        query_item, threshold = search.query_item, search.threshold
        wanted = count + (query_item is not None)
        scores, seqs = search.state.index.search(search.vector, wanted, conditions)
        if query_item is not None:
            others = seqs != query_item.seq
            scores, seqs = scores[others][:count], seqs[others][:count]
        if threshold is not None:
            seqs, scores = seqs[scores >= threshold], scores[scores >= threshold]
        return scores, seqs


@dataclasses.dataclass(frozen=True)
class _Search:
    """What is looked for in an index: float32 [D] against the items that meet every condition."""

    state: SiteState
    vector: np.ndarray
    where: ItemFilter
    exclude_camera: str | None
    threshold: float | None
    query_item: Item | None
    include_hidden: bool


def _mean(state: SiteState, vectors: np.ndarray, camera: str | None) -> np.ndarray:
    """float [N,D] as embedded, all of one camera -> float [D], unit length: the mean of what is compared."""
    mean = state.compare(vectors, [camera] * len(vectors)).mean(axis=0)
    norm = float(np.linalg.norm(mean))
    if norm < 1e-6:
        raise Unprocessable("the crops of this tracklet cancel each other out; send crops of one person")
    return mean / norm


def _one_camera(query_camera: str | None, item: Item) -> str | None:
    """The camera of an enrolled item as a query. Raises BadRequest where the request names another."""
    if query_camera is not None and item.camera is not None and query_camera != item.camera:
        raise BadRequest(
            f"query_camera {query_camera!r} contradicts item_id: item {item.id!r} was enrolled at camera "
            f"{item.camera!r}; leave query_camera out"
        )
    return query_camera if query_camera is not None else item.camera
