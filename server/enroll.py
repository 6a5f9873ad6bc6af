"""Enroll: crops are decoded, embedded, committed and put into the index, in this order.

Vectors that were sent instead need the last two steps alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import sqlalchemy as sa

from server.batching import EmbedError
from server.embedding import Embedding
from server.errors import BadRequest, Conflict, Overloaded, Problem, TooLarge, Unprocessable
from server.gallery.records import EnrollRequest, Item, NewItem, Version
from server.gallery.store import Store
from server.sent_vectors import require_space, unit_vectors
from server.settings import Settings
from server.sites import Site, Sites, check_site_name
from server.telemetry import Telemetry

_SWAP_RETRIES = 5
_MAX_KEY = 256  # characters of an idempotency key
WITHOUT_IMAGES = (
    "these items are kept without images, so they cannot be embedded again: while the site holds them, it "
    "can be adapted by tier 0 alone, and not be re-embedded for other BatchNorm tables or another model"
)


@dataclasses.dataclass(frozen=True)
class Enrolled:
    """What an enroll committed; `errors` only with `partial`.

    Args:
        note: what the items cannot do, where vectors were enrolled.
        enrolled_before: an earlier request under the same Idempotency-Key committed them; nothing is new.
    """

    site: str
    version: int
    space_id: str
    items: list[Item]
    errors: list[dict[str, Any]]
    note: str | None = None
    enrolled_before: bool = False


@dataclasses.dataclass
class _Crops:
    """The crops of a request that are still to be committed; rows of all belong together.

    Args:
        crops: uint8 [n,H,W,3] of images, or float32 [n,D], unit length: vectors of the raw space
            `raw_space_id`, which have no `images`.
        indices: places in the request.
    """

    crops: np.ndarray
    images: list[bytes] | None
    records: list[NewItem]
    indices: list[int]
    raw_space_id: str | None = None

    def keep(self, rows: list[int]) -> _Crops:
        """Only these rows."""
        images = [self.images[row] for row in rows] if self.images is not None else None
        records, indices = [self.records[row] for row in rows], [self.indices[row] for row in rows]
        return _Crops(self.crops[rows], images, records, indices, self.raw_space_id)


class Enrolling:
    """The use case. Raises `server.errors.Problem` for everything that a caller can do something about."""

    def __init__(
        self, settings: Settings, store: Store, sites: Sites, embedding: Embedding, telemetry: Telemetry
    ) -> None:
        self.settings, self.store, self.sites = settings, store, sites
        self.embedding, self.telemetry = embedding, telemetry
        self.writers = ThreadPoolExecutor(2, thread_name_prefix="write")

    def close(self) -> None:
        """Finishes what is being committed."""
        self.writers.shutdown(wait=True)

    async def enroll(
        self,
        site_name: str,
        images: Sequence[bytes],
        records: Sequence[NewItem],
        idempotency_key: str | None = None,
        partial: bool = False,
        vectors: Sequence[np.ndarray] = (),
        raw_space_id: str | None = None,
    ) -> Enrolled:
        """Embeds and commits crops; returns when they are on disk and in the index.

        Args:
            vectors: float [D] each, of crops instead of their images, as they were embedded at their cameras.
                raw_space_id: of these vectors, which is that of the site.
            records: one per image or vector.
            idempotency_key: repeating the request under it returns the first answer.
            partial: store the good crops and report the bad ones, instead of storing nothing.
        """
        self._check_counts(images, vectors, records)
        if raw_space_id and not vectors:
            raise BadRequest("raw_space_id says of which space vectors are; leave it out where none are sent")
        fingerprint = ""
        if idempotency_key is not None:
            _check_key(idempotency_key)
            sent = images or [str(raw_space_id).encode(), *(vector.tobytes() for vector in vectors)]
            fingerprint = await asyncio.to_thread(_fingerprint, site_name, sent, records)
            earlier = await self._earlier(idempotency_key, fingerprint, partial)
            if earlier is not None:
                return earlier
        check_site_name(site_name)
        site = self.sites.by_name.get(site_name)
        version = site.state.version if site is not None else self.sites.first_version(site_name)
        if vectors:
            require_space(version, raw_space_id)
            usable, problems = await asyncio.to_thread(unit_vectors, vectors, version.dim, partial)
        else:
            self.embedding.admit(version.profile_id, len(images))
            usable, problems = await self.embedding.decode(images, partial)
        good = [i for i in range(len(records)) if i not in problems]
        items: list[Item] = []
        note = WITHOUT_IMAGES if vectors and good else None
        if good:
            kept = [images[i] for i in good] if images else None
            crops = _Crops(usable, kept, [records[i] for i in good], good, raw_space_id)
            request = (idempotency_key, fingerprint) if idempotency_key else None
            items, version = await self._commit(site or site_name, crops, problems, request, partial)
        self.telemetry.enrolled.labels(site_name).inc(len(items))
        errors = _errors_of(problems)
        return Enrolled(site_name, version.version, version.space_id, items, errors, note)

    def _check_counts(
        self, images: Sequence[bytes], vectors: Sequence[np.ndarray], records: Sequence[NewItem]
    ) -> None:
        limit = self.settings.max_images
        if images and vectors:
            raise BadRequest("images and vectors in one request; send each in a request of their own")
        sent, what, one = (vectors, "vectors", "a vector") if vectors else (images, "images", "an image")
        if not sent:
            raise BadRequest("no images: send at least one, or vectors of crops")
        if len(sent) > limit:
            raise TooLarge(f"{len(sent)} {what} in one request; at most {limit} are accepted")
        if len(sent) != len(records):
            raise BadRequest(
                f"{len(sent)} {what} but {len(records)} records; send one record for {one}, in the same order"
            )

    async def _commit(
        self,
        place: Site | str,
        crops: _Crops,
        problems: dict[int, Problem],
        request: tuple[str, str] | None,
        partial: bool,
    ) -> tuple[list[Item], Version]:
        """Embeds under the live profile and commits, again from the start if the site was swapped in between.
        A new site begins when its first crops are embedded, so that none is left where that fails.

        With `partial`, crops that the engine fails on are added to `problems`.

        Args:
            place: the site; its name where there was none when the request came.
        """
        loop = asyncio.get_running_loop()
        for _ in range(_SWAP_RETRIES):
            if isinstance(place, str):
                place = self.sites.by_name.get(place, place)
            version = self.sites.first_version(place) if isinstance(place, str) else place.state.version
            try:
                if crops.images is None:
                    require_space(version, crops.raw_space_id)
                    vectors = crops.crops
                else:
                    cameras = [record.camera for record in crops.records]
                    vectors = await self.embedding.embed(version.profile_id, crops.crops, cameras, "bulk")
            except EmbedError as error:
                failed = _problems_of(error, crops.indices)
                if not partial:
                    raise next(iter(failed.values())) from error
                problems.update(failed)
                crops = crops.keep([row for row in range(len(crops.indices)) if row not in error.rows])
                if not crops.indices:
                    return [], version
                continue
            try:
                written = await loop.run_in_executor(
                    self.writers,
                    self._write,
                    place,
                    version.raw_space_id,
                    crops,
                    vectors,
                    request,
                    problems,
                )
            except sa.exc.IntegrityError as error:  # the same idempotency key was committed a moment ago
                if request is None or await self._earlier(*request, partial) is None:
                    raise
                raise Conflict(
                    f"idempotency key {request[0]!r} is being used by two requests at once; repeat this one"
                ) from error
            if written is not None:
                return written
        raise Overloaded("the site was adapted again and again while these crops were embedded; try again")

    def _write(
        self,
        place: Site | str,
        raw_space_id: str,
        crops: _Crops,
        vectors: np.ndarray,
        request: tuple[str, str] | None,
        problems: dict[int, Problem],
    ) -> tuple[list[Item], Version] | None:
        """Commits and indexes, by the centres that the site has now. Returns the items and the version; None,
        with nothing committed, when the site stores in another raw space by now.

        Args:
            place: the site; its name where it has none of its items yet.
        """
        site = self.sites.get_or_create(place) if isinstance(place, str) else place
        with site.lock:
            if site.deleted:
                raise Conflict(
                    f"site {site.name!r} was deleted while these crops were embedded; send them again to "
                    f"begin it anew"
                )
            state = site.state
            version = state.version
            if version.raw_space_id != raw_space_id:
                return None
            repeatable = None
            if request is not None:
                answer: dict[str, Any] = {
                    "site": site.name,
                    "version": version.version,
                    "space_id": version.space_id,
                }
                answer["errors"] = _errors_of(problems)
                if crops.images is None:
                    answer["note"] = WITHOUT_IMAGES
                repeatable = EnrollRequest(*request, answer)
            images = crops.images if self.settings.keep_images else None
            items = self.store.items.enroll(
                site.name, raw_space_id, crops.records, images, vectors, repeatable
            )
            state.add(items, vectors)
            site.changes += 1
            return items, version

    async def _earlier(self, key: str, fingerprint: str, partial: bool) -> Enrolled | None:
        """The answer of an earlier request under this key, without items that were erased since. Raises
        Conflict when that one had other content, when all its items were erased, and when it left images out
        that a request without `partial` would not have left out."""
        earlier = await asyncio.to_thread(self.store.requests.get, key)
        if earlier is None:
            return None
        if earlier.erased:
            raise Conflict(
                f"the items that were enrolled under idempotency key {key!r} were erased; take a new "
                f"key to enroll them again"
            )
        if earlier.fingerprint != fingerprint:
            raise Conflict(
                f"idempotency key {key!r} was used for another request; take a new key for new content"
            )
        by_seq = await asyncio.to_thread(self.store.items.by_seq, earlier.seqs)
        items = [by_seq[seq] for seq in earlier.seqs if seq in by_seq]
        answer = earlier.answer
        errors = answer.get("errors", [])  # older databases do not keep them
        if errors and not partial:
            what = "image" if answer.get("note") is None else "vector"
            raise Conflict(
                f"idempotency key {key!r} was used with partial, and {what} {errors[0]['index']} was not "
                f"stored then; repeat it with partial, or take a new key to store all {what}s or none"
            )
        site, version, space_id = answer["site"], answer["version"], answer["space_id"]
        return Enrolled(site, version, space_id, items, errors, answer.get("note"), enrolled_before=True)


def _errors_of(problems: dict[int, Problem]) -> list[dict[str, Any]]:
    return [{"index": i, **problems[i].body()} for i in sorted(problems)]


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= _MAX_KEY or not key.isprintable():
        raise BadRequest(
            f"idempotency key {key[:80]!r} has {len(key)} characters; send 1 to {_MAX_KEY} printable ones, "
            f"like a UUID"
        )


def _problems_of(error: EmbedError, indices: list[int]) -> dict[int, Problem]:
    """The problems of crops that the engine failed on, by their places in the request."""
    problems: dict[int, Problem] = {}
    for row, why in error.rows.items():
        index = indices[row]
        problems[index] = Unprocessable(f"image {index}: {why}", index=index)
    return problems


def _fingerprint(site: str, sent: Sequence[bytes], records: Sequence[NewItem]) -> str:
    digest = hashlib.sha256(json.dumps([site, [vars(r) for r in records]], sort_keys=True).encode())
    for data in sent:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()
