"""The use cases: enroll, query, erase, adapt, roll back. HTTP and gRPC are two skins over this, with the same
errors."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import sqlalchemy as sa

from reid.bundle import Bundle
from reid.images import ImageError, ImageTooLarge, UnsupportedImage, decode_crop
from server.adaptation import Adaptation, Tier
from server.batching import Batcher, EmbedError, Lane
from server.engines import Engines
from server.errors import (
    BadRequest,
    Conflict,
    NotFound,
    Overloaded,
    Problem,
    TooLarge,
    Unprocessable,
    UnsupportedMedia,
)
from server.gallery.index import SearchFilter
from server.gallery.records import Item, ItemFilter, NewItem, Version
from server.gallery.store import Store
from server.jobs import Handle, Jobs
from server.rebuild import Rebuild
from server.settings import Settings
from server.sites import Site, Sites, SiteState
from server.telemetry import Telemetry

_SWAP_RETRIES = 5
_TIERS = ("auto", "none", "2")


@dataclasses.dataclass(frozen=True)
class Match:
    """A ranked gallery item."""

    rank: int
    score: float  # cosine
    item: Item


@dataclasses.dataclass(frozen=True)
class Enrolled:
    """What an enroll committed; `errors` only with `partial`."""

    site: str
    version: int
    space_id: str
    items: list[Item]
    errors: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Answer:
    """A query's ranking, all of one version."""

    site: str
    version: int
    space_id: str
    matches: list[Match]
    seconds: dict[str, float]


class Service:
    """One server's use cases. Methods raise `server.errors.Problem` for everything a caller can do something
    about."""

    def __init__(
        self, settings: Settings, bundle: Bundle, store: Store, engines: Engines, sites: Sites
    ) -> None:
        self.settings, self.bundle, self.store, self.engines, self.sites = (
            settings,
            bundle,
            store,
            engines,
            sites,
        )
        self.jobs, self.telemetry = Jobs(store), Telemetry()
        self.telemetry.watch(self)
        self.decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self.searchers = ThreadPoolExecutor(4, thread_name_prefix="search")
        self.writers = ThreadPoolExecutor(2, thread_name_prefix="write")
        self.started_at = time.time()

    def close(self) -> None:
        """Cancels jobs, finishes what is queued, closes the store."""
        self.jobs.close()
        for pool in (self.decoders, self.searchers, self.writers):
            pool.shutdown(wait=True)
        self.engines.close()
        self.store.close()

    def jobs_stopping(self) -> None:
        """Asks running jobs to end, so that those who watch them are let go."""
        for handle in list(self.jobs.handles.values()):
            handle.stop.set()

    # Enroll

    async def enroll(
        self,
        site_name: str,
        images: Sequence[bytes],
        records: Sequence[NewItem],
        idempotency_key: str | None = None,
        partial: bool = False,
    ) -> Enrolled:
        """Embeds and commits crops; returns when they are on disk and found by queries.

        Args:
            records: one per image. idempotency_key: repeating the request under it returns the first answer.
            partial: store the good crops and report the bad ones, instead of storing nothing.
        """
        if not images:
            raise BadRequest("no images: send at least one file part named 'images'")
        if len(images) > self.settings.max_images:
            raise TooLarge(
                f"{len(images)} images in one request; at most {self.settings.max_images} are accepted"
            )
        if len(images) != len(records):
            raise BadRequest(
                f"{len(images)} images but {len(records)} records; send one record an image, in the same "
                f"order"
            )
        fingerprint = _fingerprint(site_name, images, records) if idempotency_key else ""
        if idempotency_key:
            earlier = await self._repeat(idempotency_key, fingerprint)
            if earlier is not None:
                return earlier
        site = self.sites.get_or_create(site_name)
        self._admit(self.engines.ready(site.state.version.profile_id), len(images))
        crops, problems = await self._decode(images, partial)
        good = [i for i in range(len(images)) if i not in problems]
        items: list[Item] = []
        version = site.state.version
        if good:
            request = (idempotency_key, fingerprint) if idempotency_key else None
            items, version = await self._commit(
                site,
                crops,
                [images[i] for i in good],
                [records[i] for i in good],
                good,
                problems,
                request,
                partial,
            )
        self.telemetry.enrolled.labels(site_name).inc(len(items))
        errors = [{"index": i, **problems[i].body()} for i in sorted(problems)]
        return Enrolled(site_name, version.version, version.space_id, items, errors)

    async def _commit(
        self,
        site: Site,
        crops: np.ndarray,
        images: list[bytes],
        records: list[NewItem],
        good: list[int],
        problems: dict[int, Problem],
        request: tuple[str, str] | None,
        partial: bool,
    ) -> tuple[list[Item], Version]:
        """Embeds under the live profile and commits, again from the start if the site was swapped in
        between."""
        for _ in range(_SWAP_RETRIES):
            state = site.state
            batcher = await self._batcher(state)
            try:
                vectors = await self._embed(batcher, crops, "bulk")
            except EmbedError as error:
                bad = {
                    good[row]: Unprocessable(f"image {good[row]}: {why}", index=good[row])
                    for row, why in error.rows.items()
                }
                if not partial:
                    raise next(iter(bad.values())) from error
                problems.update(bad)
                keep = [row for row in range(len(good)) if row not in error.rows]
                crops, images, records, good = (
                    crops[keep],
                    [images[r] for r in keep],
                    [records[r] for r in keep],
                    [good[r] for r in keep],
                )
                if not good:
                    return [], state.version
                continue
            loop = asyncio.get_running_loop()
            try:
                items = await loop.run_in_executor(
                    self.writers, self._write, site, state, records, images, vectors, request
                )
            except sa.exc.IntegrityError as error:  # the same Idempotency-Key was committed a moment ago
                if request is None or await self._repeat(*request) is None:
                    raise
                raise Conflict(
                    f"Idempotency-Key {request[0]!r} is being used by two requests at once; repeat this one"
                ) from error
            if items is not None:
                return items, state.version
        raise Overloaded("the site was adapted again and again while these crops were embedded; try again")

    def _write(
        self,
        site: Site,
        state: SiteState,
        records: list[NewItem],
        images: list[bytes],
        vectors: np.ndarray,
        request: tuple[str, str] | None,
    ) -> list[Item] | None:
        """Commits and indexes, unless the site has another space by now."""
        with site.lock:
            if site.state.version.space_id != state.version.space_id:
                return None
            facts = (
                (
                    *request,
                    {"site": site.name, "version": state.version.version, "space_id": state.version.space_id},
                )
                if request
                else None
            )
            kept = images if self.settings.keep_images else None
            items = self.store.enroll(site.name, state.version.space_id, records, kept, vectors, facts)
            site.state.index.add([item.seq for item in items], [item.camera for item in items], vectors)
            return items

    async def _repeat(self, key: str, fingerprint: str) -> Enrolled | None:
        found = await asyncio.to_thread(self.store.answered, key)
        if found is None:
            return None
        if found[0] != fingerprint:
            raise Conflict(
                f"Idempotency-Key {key!r} was used for another request; take a new key for new content"
            )
        facts = found[1]
        by_id = await asyncio.to_thread(self.store.items_by_id, facts["ids"])
        return Enrolled(
            facts["site"],
            facts["version"],
            facts["space_id"],
            [by_id[i] for i in facts["ids"] if i in by_id],
            [],
        )

    # Query

    async def query(
        self,
        site_name: str,
        images: Sequence[bytes] = (),
        item_id: str | None = None,
        top_k: int = 10,
        where: ItemFilter | None = None,
        camera: str | None = None,
        exclude_same_camera: bool = False,
        threshold: float | None = None,
    ) -> Answer:
        """Ranks a site's gallery for a crop, a tracklet (its embeddings are averaged) or an enrolled item.

        Args:
            camera: of the query; an enrolled item brings its own. exclude_same_camera: leaves out that
            camera's items.
            threshold: lowest cosine that is returned.
        """
        if bool(images) == bool(item_id):
            raise BadRequest("send either images (one crop, or the crops of one tracklet) or item_id")
        if not 1 <= top_k <= self.settings.max_top_k:
            raise BadRequest(f"top_k is {top_k}; it must lie between 1 and {self.settings.max_top_k}")
        if len(images) > self.settings.max_tracklet:
            raise TooLarge(
                f"{len(images)} images in one query; a tracklet may have {self.settings.max_tracklet}"
            )
        state = self.sites.get(site_name).state  # taken once: everything below is of this version
        seconds: dict[str, float] = {}
        if item_id:
            item = await self._item_of(site_name, item_id)
            camera = camera if camera is not None else item.camera
            vector = await asyncio.to_thread(self.store.embedding, item.seq, state.version.space_id)
            if vector is None:
                raise Conflict(
                    f"item {item_id!r} is not embedded in the version that was live when this query began; "
                    f"ask again"
                )
        else:
            vector = await self._query_vector(state, images, seconds)
        if exclude_same_camera and camera is None:
            raise BadRequest("exclude_same_camera needs the query's camera: send camera")
        began = time.perf_counter()
        loop = asyncio.get_running_loop()
        limits = (top_k, where or ItemFilter(), camera if exclude_same_camera else None, threshold)
        matches = await loop.run_in_executor(self.searchers, self._search, state, vector, *limits)
        seconds["search"] = time.perf_counter() - began
        return Answer(site_name, state.version.version, state.version.space_id, matches, seconds)

    async def _query_vector(
        self, state: SiteState, images: Sequence[bytes], seconds: dict[str, float]
    ) -> np.ndarray:
        began = time.perf_counter()
        batcher = await self._batcher(state)
        crops, _ = await self._decode(images, partial=False)
        seconds["decode"] = time.perf_counter() - began
        began = time.perf_counter()
        try:
            vectors = await self._embed(batcher, crops, "interactive")
        except EmbedError as error:
            row, why = next(iter(error.rows.items()))
            raise Unprocessable(f"image {row}: {why}", index=row) from error
        mean = vectors.mean(axis=0)
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
        exclude: str | None,
        threshold: float | None,
    ) -> list[Match]:
        if where.only_camera:
            conditions = SearchFilter(camera=where.camera, exclude_camera=exclude)
        else:
            conditions = SearchFilter(
                exclude_camera=exclude, allowed=self.store.seqs(state.version.site, where)
            )
        scores, seqs = state.index.search(vector, top_k, conditions)
        if threshold is not None:
            seqs, scores = seqs[scores >= threshold], scores[scores >= threshold]
        items = self.store.items_by_seq([int(s) for s in seqs])
        found = [
            (float(score), items[int(seq)])
            for score, seq in zip(scores, seqs, strict=True)
            if int(seq) in items
        ]
        return [Match(rank, score, item) for rank, (score, item) in enumerate(found, 1)]

    # Items

    async def item(self, item_id: str) -> Item:
        """One item. Raises NotFound."""
        return await self._item_of(None, item_id)

    async def image(self, item_id: str, actor: str) -> bytes:
        """The uploaded bytes of an item; the look is noted in the audit log."""
        item = await self._item_of(None, item_id)
        data = await asyncio.to_thread(self.store.image, item.seq)
        if data is None:
            raise NotFound(f"the image of item {item_id!r} was not kept")
        await asyncio.to_thread(self.store.note, actor, "read-image", item.site, {"item": item_id})
        return data

    async def page(
        self, site_name: str, where: ItemFilter, cursor: str | None, limit: int
    ) -> tuple[list[Item], str | None]:
        """Items in order of enrolling, and the cursor of the next page if there is one."""
        self.sites.get(site_name)
        if not 1 <= limit <= 1000:
            raise BadRequest(f"limit is {limit}; it must lie between 1 and 1000")
        try:
            after = int(cursor or 0)
        except ValueError:
            raise BadRequest(f"cursor {cursor!r} is none that a listing gave") from None
        items = await asyncio.to_thread(self.store.page, site_name, where, after, limit)
        return items, str(items[-1].seq) if len(items) == limit else None

    async def erase_item(self, item_id: str, actor: str) -> int:
        """Erases one item: image, embeddings of every version, index. Raises NotFound."""
        item = await self._item_of(None, item_id)
        return await asyncio.to_thread(
            self._erase, self.sites.get(item.site), [item.seq], actor, {"item": item_id}
        )

    async def erase_identity(self, site_name: str, identity: str, actor: str) -> int:
        """Erases every item of an identity. Returns how many there were."""
        site = self.sites.get(site_name)
        return await asyncio.to_thread(self._erase_where, site, ItemFilter(identity=identity), actor)

    def _erase_where(self, site: Site, where: ItemFilter, actor: str) -> int:
        with site.lock:
            seqs = [int(s) for s in self.store.seqs(site.name, where)]
            return self._erase(site, seqs, actor, {"by": "identity"}) if seqs else 0

    def _erase(self, site: Site, seqs: list[int], actor: str, reason: dict[str, Any]) -> int:
        with site.lock:
            count = self.store.erase(seqs, actor, site.name, reason)
            site.state.index.remove(seqs)
            return count

    async def _item_of(self, site: str | None, item_id: str) -> Item:
        item = await asyncio.to_thread(self.store.item, item_id)
        if item is None or (site is not None and item.site != site):
            raise NotFound(f"there is no item {item_id!r}" + (f" at site {site!r}" if site else ""))
        return item

    # Adapt

    async def adapt(
        self, site_name: str, tier: str = "auto", max_samples: int | None = None, seed: int = 0
    ) -> dict[str, Any]:
        """Starts an adaptation job and returns its snapshot."""
        if tier not in _TIERS:
            raise BadRequest(f"tier {tier!r} is unknown; this version has {', '.join(_TIERS)}")
        samples = self.settings.adapt_samples if max_samples is None else max_samples
        if not 16 <= samples <= 16_384:
            raise BadRequest(f"max_samples is {samples}; it must lie between 16 and 16384")
        site = self.sites.get(site_name)
        chosen: Tier = "auto" if tier == "auto" else "none" if tier == "none" else "2"
        work = Adaptation(site, chosen, samples, seed, self.store, self.sites, self.engines)
        await asyncio.to_thread(work.check)
        request = {"tier": tier, "max_samples": samples, "seed": seed}
        return (
            await asyncio.to_thread(self.jobs.start, site_name, "adapt", request, self._cleaned(work.run))
        ).snapshot()

    async def roll_back(self, site_name: str) -> dict[str, Any]:
        """Starts a job that makes a new version with the profile of the live one's parent. Raises Conflict
        without a parent."""
        site = self.sites.get(site_name)
        live = site.state.version
        parent = self.store.version(site_name, live.parent) if live.parent is not None else None
        if parent is None:
            raise Conflict(
                f"site {site_name!r} is on version {live.version}, which has no earlier one to roll back to"
            )

        def work(handle: Handle) -> None:
            rebuild = Rebuild(site, parent.profile_id, self.store, self.sites, self.engines)
            version = rebuild.run(
                "rollback", parent.parent, handle.job.id, lambda share: handle.step(share, "re-embedding")
            )
            handle.job.version = version.version
            handle.job.report["restores"] = parent.version

        request = {"from": live.version, "to": parent.version}
        return (
            await asyncio.to_thread(self.jobs.start, site_name, "rollback", request, self._cleaned(work))
        ).snapshot()

    def _cleaned(self, work: Callable[[Handle], None]) -> Callable[[Handle], None]:
        """The work, and after it, however it ended, nothing left that no version uses."""

        def run(handle: Handle) -> None:
            try:
                work(handle)
            finally:
                self.store.drop_unused_spaces()

        return run

    # What is there

    def site_facts(self, site: Site) -> dict[str, Any]:
        """A site as callers see it."""
        state = site.state
        v = state.version
        return {
            "site": site.name,
            "version": v.version,
            "space_id": v.space_id,
            "profile": v.profile_id,
            "items": len(state.index),
            "adapted": v.profile_id != self.engines.base_id,
            "can_roll_back": v.parent is not None,
            "cause": v.cause,
        }

    def info(self) -> dict[str, Any]:
        """What really runs."""
        manifest, engine = self.bundle.manifest, self.engines.info
        return {
            "bundle": {
                "name": manifest.name,
                "base": self.bundle.base_id,
                "architecture": manifest.architecture,
                "dim": manifest.dim,
                "height": manifest.height,
                "width": manifest.width,
                "training_domains": manifest.training_domains,
                "ssl_heads": manifest.ssl_heads,
                "weights_licence": manifest.weights_licence,
                "metrics": manifest.metrics,
            },
            "engine": dataclasses.asdict(engine),
            "max_batch": self.engines.max_batch,
            "keep_images": self.settings.keep_images,
            "tiers": list(_TIERS),
            "uptime_s": round(time.time() - self.started_at, 1),
        }

    async def ready(self) -> None:
        """A canary through the real batcher and a write to the store. Raises Overloaded where either does not
        work."""
        manifest = self.bundle.manifest
        try:
            canary = np.zeros((1, manifest.height, manifest.width, 3), np.uint8)
            await asyncio.wait_for(asyncio.wrap_future(self.engines.base.submit(canary)), 10)
        except (EmbedError, TimeoutError, asyncio.TimeoutError) as error:
            raise Overloaded(f"the engine does not answer: {error or 'no answer within 10 s'}") from error
        if not await asyncio.to_thread(self.store.writable):
            raise Overloaded("the store cannot be written; is the disk full?")

    # Shared parts

    def _admit(self, batcher: Batcher | None, count: int) -> None:
        """Refuses before decoding what the engine would refuse after."""
        if batcher is not None and batcher.queued and batcher.queued + count > batcher.max_queued:
            wait = max(1, int(batcher.queued / batcher.rate))
            raise Overloaded(
                f"{batcher.queued} crops are waiting for the engine already; try again in {wait} s", wait
            )

    async def _batcher(self, state: SiteState) -> Batcher:
        found = self.engines.ready(state.version.profile_id)
        return (
            found
            if found is not None
            else await asyncio.to_thread(self.engines.get, state.version.profile_id)
        )

    @staticmethod
    async def _embed(batcher: Batcher, crops: np.ndarray, lane: Lane) -> np.ndarray:
        return await asyncio.wrap_future(batcher.submit(crops, lane))

    async def _decode(self, images: Sequence[bytes], partial: bool) -> tuple[np.ndarray, dict[int, Problem]]:
        """uint8 [n,H,W,3] of the images that decode, and the problems of the others; the first problem is
        raised unless `partial`."""
        loop = asyncio.get_running_loop()
        crops, problems = await loop.run_in_executor(self.decoders, self._decode_all, images, partial)
        return crops, problems

    def _decode_all(self, images: Sequence[bytes], partial: bool) -> tuple[np.ndarray, dict[int, Problem]]:
        manifest, limits = self.bundle.manifest, self.settings.limits
        crops: list[np.ndarray] = []
        problems: dict[int, Problem] = {}
        for index, data in enumerate(images):
            try:
                crops.append(decode_crop(data, manifest.height, manifest.width, limits))
            except ImageError as error:
                problems[index] = _problem_of(error)(f"image {index}: {error}", index=index)
                if not partial:
                    raise problems[index] from error
        shape = (0, manifest.height, manifest.width, 3)
        return (np.stack(crops) if crops else np.empty(shape, np.uint8)), problems


def _problem_of(error: ImageError) -> type[Problem]:
    if isinstance(error, ImageTooLarge):
        return TooLarge
    return UnsupportedMedia if isinstance(error, UnsupportedImage) else Unprocessable


def _fingerprint(site: str, images: Sequence[bytes], records: Sequence[NewItem]) -> str:
    digest = hashlib.sha256(json.dumps([site, [vars(r) for r in records]], sort_keys=True).encode())
    for data in images:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()
