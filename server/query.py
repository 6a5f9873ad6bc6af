"""Query: a crop, a tracklet or an enrolled item -> the gallery's items, ranked."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from server.batching import EmbedError
from server.embedding import Embedding
from server.errors import BadRequest, Conflict, TooLarge, Unprocessable
from server.gallery.filters import ItemFilter
from server.gallery.index import SearchFilter
from server.gallery.records import Item
from server.gallery.store import Store
from server.items import require_item
from server.settings import Settings
from server.sites import Sites, SiteState


@dataclasses.dataclass(frozen=True)
class Match:
    """A ranked gallery item."""

    rank: int
    score: float  # cosine
    item: Item


@dataclasses.dataclass(frozen=True)
class Answer:
    """A query's ranking, all of one version."""

    site: str
    version: int
    space_id: str
    matches: list[Match]
    seconds: dict[str, float]


class Querying:
    """The use case. Raises `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(self, settings: Settings, store: Store, sites: Sites, embedding: Embedding) -> None:
        self.settings, self.store, self.sites, self.embedding = settings, store, sites, embedding
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
        threshold: float | None = None,
    ) -> Answer:
        """Ranks a site's gallery for a crop, a tracklet (its embeddings are averaged) or an enrolled item,
        which is no match of its own.

        Args:
            query_camera: where the query was seen, whose table and centre it gets; an enrolled item brings
                its own. Without one, the site's.
            exclude_same_camera: leaves out that camera's items.
            threshold: lowest cosine that is returned.
        """
        if bool(images) == bool(item_id):
            raise BadRequest("send either images (one crop, or the crops of one tracklet) or item_id")
        if not 1 <= top_k <= self.settings.max_top_k:
            raise BadRequest(f"top_k is {top_k}; it must lie between 1 and {self.settings.max_top_k}")
        if threshold is not None and not -1 <= threshold <= 1:  # also where it is NaN
            raise BadRequest(f"threshold is {threshold}; a cosine lies between -1 and 1")
        if len(images) > self.settings.max_tracklet:
            raise TooLarge(
                f"{len(images)} images in one query; a tracklet may have {self.settings.max_tracklet}"
            )
        state = self.sites.get(site_name).state  # taken once: everything below is of this version
        seconds: dict[str, float] = {}
        item: Item | None = None
        if item_id:
            item = await asyncio.to_thread(require_item, self.store, item_id, site_name)
            query_camera = _one_camera(query_camera, item)
            vector = await self._stored_vector(state, item)
        else:
            vector = await self._embedded_vector(state, images, query_camera, seconds)
        if exclude_same_camera and query_camera is None:
            raise BadRequest("exclude_same_camera needs the query's camera: send query_camera")
        began = time.perf_counter()
        matches = await asyncio.get_running_loop().run_in_executor(
            self.searchers,
            self._search,
            state,
            vector,
            top_k,
            where or ItemFilter(),
            query_camera if exclude_same_camera else None,
            threshold,
            item,
        )
        seconds["search"] = time.perf_counter() - began
        return Answer(site_name, state.version.version, state.version.space_id, matches, seconds)

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
        mean = state.compare(vectors, cameras).mean(axis=0)
        norm = float(np.linalg.norm(mean))
        if norm < 1e-6:
            raise Unprocessable("the crops of this tracklet cancel each other out; send crops of one person")
        seconds["embed"] = time.perf_counter() - began
        return mean / norm

    def _search(
        self,
        state: SiteState,
        vector: np.ndarray,
        top_k: int,
        where: ItemFilter,
        exclude_camera: str | None,
        threshold: float | None,
        query_item: Item | None,
    ) -> list[Match]:
        if where.is_open or where.only_camera is not None:
            conditions = SearchFilter(camera=where.only_camera, exclude_camera=exclude_camera)
        else:
            allowed = self.store.items.seqs(state.version.site, where)
            conditions = SearchFilter(exclude_camera=exclude_camera, allowed=allowed)
        scores, seqs = state.index.search(vector, top_k + (query_item is not None), conditions)
        if query_item is not None:
            others = seqs != query_item.seq
            scores, seqs = scores[others][:top_k], seqs[others][:top_k]
        if threshold is not None:
            seqs, scores = seqs[scores >= threshold], scores[scores >= threshold]
        items = self.store.items.by_seq([int(s) for s in seqs])
        matches: list[Match] = []
        for score, seq in zip(scores, seqs, strict=True):
            item = items.get(int(seq))
            if item is not None:  # None: erased while this query ran
                matches.append(Match(len(matches) + 1, float(score), item))
        return matches


def _one_camera(query_camera: str | None, item: Item) -> str | None:
    """The camera of an enrolled item as a query. Raises BadRequest where the request names another."""
    if query_camera is not None and item.camera is not None and query_camera != item.camera:
        raise BadRequest(
            f"query_camera {query_camera!r} contradicts item_id: item {item.id!r} was enrolled at camera "
            f"{item.camera!r}; leave query_camera out"
        )
    return query_camera if query_camera is not None else item.camera
