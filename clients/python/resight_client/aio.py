"""The async client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import httpx

from resight_client import calls, corrections, values
from resight_client import corrected as parse
from resight_client.calls import Call
from resight_client.corrected import (
    ClusterItems,
    ClusterPage,
    Corrected,
    CropMap,
    Entry,
    ItemCorrected,
    JournalPage,
    PeoplePage,
    ReviewQueue,
)
from resight_client.fields import Filter, Threshold, Time
from resight_client.pictures import Image
from resight_client.server import Server
from resight_client.values import (
    Answer,
    Calibration,
    Enrolled,
    Erased,
    Item,
    Job,
    JobFailed,
    Page,
    ResightError,
    Site,
    Vectors,
)
from resight_client.vectors import OneOrMore

Parsed = TypeVar("Parsed")


class AsyncClient:
    """A connection to one server.

    Args:
        url: of the server. api_key: where it needs one. timeout_s: for one answer.

    Every failure is a ResightError: with the server's sentence, or the client's where there was no answer.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", api_key: str | None = None, timeout_s: float = 120.0
    ) -> None:
        self.server = Server(url, api_key)
        self.url = self.server.url_shown
        self.http = self.server.opened(httpx.AsyncClient, timeout_s)

    async def __aenter__(self) -> AsyncClient:
        """The client itself."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Closes the connection."""
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self.http.aclose()

    async def enroll(
        self,
        site: str,
        images: Image | Iterable[Image] | None = None,
        *,
        vectors: OneOrMore | None = None,
        raw_space_id: str | None = None,
        camera: str | None = None,
        identity: str | None = None,
        captured_at: Time | None = None,
        metadata: dict[str, Any] | None = None,
        records: Sequence[dict[str, Any]] | None = None,
        partial: bool = False,
        idempotency_key: str | None = None,
    ) -> Enrolled:
        """Enrolls one crop or several: the fields hold for all of them, or `records` has one object a crop.

        Args:
            images: paths, encoded bytes, open files, arrays uint8 [H,W,3] in RGB or Pillow images, or one.
            vectors: one or several as `embed` answers them, instead of images. Their items have no image,
                and the answer's `note` says what they cannot do. raw_space_id: that came with them.
            captured_at: ISO 8601, seconds since 1970, or a datetime, which means UTC where it has no zone.
        """
        call = calls.enroll(
            site,
            images,
            camera,
            identity,
            captured_at,
            metadata,
            records,
            partial,
            idempotency_key,
            vectors,
            raw_space_id,
        )
        return await self._send(call, values.enrolled)

    async def query(
        self,
        site: str,
        images: Image | Iterable[Image] | None = None,
        *,
        vectors: OneOrMore | None = None,
        raw_space_id: str | None = None,
        item_id: str | None = None,
        top_k: int = 10,
        query_camera: str | None = None,
        camera: str | None = None,
        exclude_same_camera: bool = False,
        filter: Filter | None = None,
        threshold: Threshold | None = None,
        group_by: str | None = None,
        without_metadata: bool = False,
        include_hidden: bool = False,
        rerank: bool = False,
    ) -> Answer:
        """Ranks a site's gallery for a crop, a tracklet's crops, vectors of these, or an enrolled item.

        Args:
            vectors: one or several as `embed` answers them, instead of images: sequences of numbers, or an
                array [D] or [N,D]. raw_space_id: that came with them.
            query_camera: where the query was seen; `camera` is its older name. It restricts nothing by
                itself: `filter` does, see docs/filters.md.
            threshold: lowest cosine to return; or {"false_alarms_per_1000": 5}, the cosine by which so many
                of 1,000 queries of unknown people find somebody, at the gallery's present size.
            group_by: "identity" ranks people, in the answer's `people`, instead of items.
            without_metadata: items come with empty metadata, for a shorter answer.
            include_hidden: hidden people too, who are no match otherwise.
            rerank: puts the 200 nearest items in the order of the neighbours that they share with the query;
                scores stay cosines. Not with `group_by`.
        """
        options = (query_camera, camera, exclude_same_camera, filter, threshold, group_by)
        given = (vectors, raw_space_id, rerank)
        call = calls.query(site, images, item_id, top_k, *options, without_metadata, include_hidden, *given)
        return await self._send(call, values.answer)

    async def embed(
        self,
        site: str,
        images: Image | Iterable[Image],
        *,
        camera: str | None = None,
        cameras: Sequence[str | None] | None = None,
    ) -> Vectors:
        """Vectors of crops as the site embeds them now; nothing is stored.

        Args:
            camera: of all crops. cameras: instead, one a crop; None: not known.
        """
        return await self._send(calls.embed(site, images, camera, cameras), values.vectors)

    async def item(self, item_id: str) -> Item:
        """One item."""
        return await self._send(Call("GET", calls.path("gallery", item_id), {}), values.item)

    async def image(self, item_id: str) -> bytes:
        """The uploaded bytes of an item's image, where the server keeps images."""
        return self.server.image(await self._answer(Call("GET", calls.path("gallery", item_id, "image"), {})))

    async def iter_items(
        self,
        site: str,
        *,
        camera: str | None = None,
        identity: str | None = None,
        captured_after: Time | None = None,
        captured_before: Time | None = None,
        filter: Filter | None = None,
        page_size: int = 1000,
        without_metadata: bool = False,
        with_vectors: bool = False,
    ) -> AsyncIterator[Item]:
        """Every item of a site that meets every condition, in order of enrolling, a page a request.

        Args:
            with_vectors: each with its `vector` and the `raw_space_id` of that.
        """
        where = calls.conditions(camera, identity, captured_after, captured_before, filter)
        cursor: str | None = None
        while True:
            page = await self._send(
                calls.listing(site, where, cursor, page_size, without_metadata, with_vectors), values.page
            )
            for item in page.items:
                yield item
            cursor = page.cursor
            if cursor is None:
                return

    async def items(
        self,
        site: str,
        *,
        camera: str | None = None,
        identity: str | None = None,
        captured_after: Time | None = None,
        captured_before: Time | None = None,
        filter: Filter | None = None,
        cursor: str | None = None,
        limit: int = 100,
        without_metadata: bool = False,
        with_vectors: bool = False,
    ) -> Page:
        """A page of a site's items: those that meet every condition; `with_vectors`, which may end it before
        `limit`, each with its `vector`."""
        where = calls.conditions(camera, identity, captured_after, captured_before, filter)
        return await self._send(
            calls.listing(site, where, cursor, limit, without_metadata, with_vectors), values.page
        )

    async def erase(self, item_id: str, site: str | None = None) -> Erased:
        """Erases an item; with `site`, only if it is of that site."""
        return await self._send(calls.erase(item_id, site), values.erased)

    async def erase_identity(self, site: str, identity: str) -> Erased:
        """Erases every item of an identity."""
        return await self.erase_items(site, identity=identity)

    async def erase_items(
        self,
        site: str,
        *,
        camera: str | None = None,
        identity: str | None = None,
        captured_after: Time | None = None,
        captured_before: Time | None = None,
        filter: Filter | None = None,
        all: bool = False,
    ) -> Erased:
        """Erases the items that `items` gives under the same conditions.

        Without a condition nothing is erased, unless `all` says that the whole site is meant.
        """
        where = calls.conditions(camera, identity, captured_after, captured_before, filter)
        return await self._send(calls.erase_items(site, where, all), values.erased)

    async def update(
        self,
        item_id: str,
        values: Mapping[str, Any],
        *,
        revision: int | None = None,
        site: str | None = None,
    ) -> ItemCorrected:
        """Gives an item other labels: some of identity, camera, captured_at and metadata; None: none.

        Args:
            revision: that you have seen; an error where the item was changed since. site: only if the item
                is of that site.
        """
        return await self._send(corrections.update(item_id, values, revision, site), parse.item_corrected)

    async def update_items(
        self,
        site: str,
        values: Mapping[str, Any],
        *,
        items: Iterable[str] | None = None,
        filter: Filter | None = None,
        all: bool = False,
        revisions: Mapping[str, int] | None = None,
    ) -> Corrected:
        """Gives many items the same labels, all of them or none: items by id, by a filter, or `all`."""
        call = corrections.update_items(site, values, items, filter, all, revisions)
        return await self._send(call, parse.corrected)

    async def people(
        self,
        site: str,
        *,
        identity: str | None = None,
        include_hidden: bool = False,
        cursor: str | None = None,
        limit: int = 100,
    ) -> PeoplePage:
        """A page of a site's people by name; with `identity`, that person alone."""
        return await self._send(
            corrections.people(site, identity, include_hidden, cursor, limit), parse.people
        )

    async def crop_map(
        self, site: str, *, identity: str | None = None, cluster: str | None = None
    ) -> CropMap:
        """Where the items of a person, or of the cluster of an item, lie to each other in two dimensions."""
        return await self._send(corrections.crop_map(site, identity, cluster), parse.crop_map)

    async def clusters(
        self, site: str, *, threshold: float | None = None, cursor: str | None = None, limit: int = 50
    ) -> ClusterPage:
        """A page of a site's unknown people: items without a name that look like one, the largest cluster
        first. `threshold`: lowest cosine of two items that may belong together; None: by calibration."""
        return await self._send(corrections.clusters(site, threshold, cursor, limit), parse.clusters)

    async def cluster(
        self,
        site: str,
        item: str,
        *,
        threshold: float | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> ClusterItems:
        """The cluster of an item, with a page of its items."""
        return await self._send(corrections.cluster(site, item, threshold, cursor, limit), parse.cluster)

    async def name_cluster(
        self,
        site: str,
        item: str,
        identity: str,
        *,
        items: int | None = None,
        threshold: float | None = None,
    ) -> Corrected:
        """Gives all items of an item's cluster a name, which somebody may have already. `items`: how many
        you have seen; refused where the cluster has others by now."""
        call = corrections.name_cluster(site, item, identity, items, threshold)
        return await self._send(call, parse.corrected)

    async def review(self, site: str, *, limit: int = 20) -> ReviewQueue:
        """The first doubtful cases of a site, the most useful first."""
        return await self._send(corrections.review(site, limit), parse.review)

    async def answer_review(self, site: str, case: str, answer: str) -> Corrected:
        """Answers a case with `same`, `different` or `skip`. One that is not open any more is an error, and
        nothing is changed."""
        return await self._send(corrections.answer_review(site, case, answer), parse.corrected)

    async def rename(self, site: str, identity: str, to: str) -> Corrected:
        """Gives a person a name that nobody has; where somebody has it, the error says how alike both are."""
        return await self._send(corrections.person("rename", site, identity, to=to), parse.corrected)

    async def merge(self, site: str, identity: str, into: str) -> Corrected:
        """Gives the items of a person to another one, and says how alike both were."""
        return await self._send(corrections.person("merge", site, identity, into=into), parse.corrected)

    async def split(self, site: str, identity: str, items: Iterable[str], to: str) -> Corrected:
        """Gives some of a person's items a name that nobody has: all of them, or none."""
        call = corrections.person("split", site, identity, items=list(items), to=to)
        return await self._send(call, parse.corrected)

    async def hide(self, site: str, identity: str, hidden: bool = True) -> Corrected:
        """Leaves a person out of the answers of queries, or shows the person again."""
        return await self._send(corrections.person("hide", site, identity, hidden=hidden), parse.corrected)

    async def set_feature(self, site: str, identity: str, item: str | None) -> Corrected:
        """Chooses the item whose picture stands for a person; None: the newest one does."""
        return await self._send(corrections.person("feature", site, identity, item=item), parse.corrected)

    async def set_different(
        self,
        site: str,
        identity: str,
        *,
        item: str | None = None,
        other: str | None = None,
        different: bool = True,
    ) -> Corrected:
        """Remembers that an item, or another person, is not this person; or takes that back."""
        values = {"item": item, "other": other, "different": different}
        return await self._send(corrections.person("different", site, identity, **values), parse.corrected)

    async def journal(
        self, site: str, *, item: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> JournalPage:
        """A page of a site's corrections, the newest first; with `item`, those that changed it."""
        return await self._send(corrections.journal(site, item, cursor, limit), parse.journal)

    async def entry(self, entry: int) -> Entry:
        """One correction with what it changed."""
        return await self._send(corrections.entry(entry), parse.entry)

    async def undo(self, entry: int) -> Corrected:
        """Undoes a correction; an undo can be undone too."""
        return await self._send(corrections.undo(entry), parse.corrected)

    async def adapt(
        self,
        site: str,
        tier: str | int = "auto",
        *,
        max_samples: int | None = None,
        seed: int = 0,
        gate: bool = True,
        refit: bool = False,
    ) -> Job:
        """Starts an adaptation.

        Args:
            tier: "auto", "none" (back to the bundle's own values), or tiers like 0, "1" or "1+0".
            gate: False takes what was asked for without judging whether it helps.
            refit: makes the live profile again without the items that were erased since.
        """
        return await self._send(calls.adapt(site, tier, max_samples, seed, gate, refit), values.job)

    async def adapt_after(self, site: str, *, items: int | None = None, hours: float | None = None) -> Site:
        """Has a site adapted again by itself: after so many new items, after so many hours, or what of both
        comes first. Neither of them: no longer."""
        return await self._send(calls.adapt_after(site, items, hours), values.site)

    async def calibrate(self, site: str, *, labels: str | None = None) -> Calibration:
        """Measures now what scores of a site mean; refused where its labels do not suffice.

        Args:
            labels: "identity": people whom two cameras have seen; "tracklets": tracks of the cameras alone,
                which is a guess; "all": both; "answers": the model's card, moved by answers of the review
                queue, a guess too. None takes identities, or where they do not suffice, all, or answers.
        """
        return await self._send(calls.calibrate(site, labels), values.calibration)

    async def delete_site(self, site: str) -> Erased:
        """Deletes a site with everything in it; refused while the site has a job."""
        return await self._send(Call("DELETE", calls.path("sites", site), {}), values.erased)

    async def roll_back(self, site: str) -> Job:
        """Starts the undoing of the site's last adaptation."""
        return await self._send(Call("POST", calls.path("sites", site, "rollback"), {}), values.job)

    async def job(self, job: str) -> Job:
        """A job now."""
        return await self._send(Call("GET", calls.path("adapt", job), {}), values.job)

    async def cancel(self, job: str) -> Job:
        """Asks a job to end."""
        return await self._send(Call("DELETE", calls.path("adapt", job), {}), values.job)

    async def watch(self, job: str) -> AsyncIterator[Job]:
        """The job now and after every change, until it has ended."""
        try:
            async with self.http.stream("GET", calls.path("adapt", job, "events"), timeout=None) as response:
                if response.status_code >= 400:
                    raise self.server.failure(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    data = calls.event(line)
                    if data is not None:
                        yield self.server.parsed(data, values.job)
        except calls.NO_ANSWER as error:
            raise self.server.unreachable(error) from error

    async def wait(self, job: str) -> Job:
        """The job when it has ended. Raises JobFailed unless it succeeded."""
        last = await self.job(job)
        if not last.ended:
            async for update in self.watch(job):
                last = update
        if not last.ended:
            last = await self.job(job)
        if not last.ended:
            raise ResightError(
                0, "unended", f"the server stopped telling about job {job}, which is {last.state}"
            )
        if last.state != "succeeded":
            raise JobFailed(last)
        return last

    async def sites(self) -> list[Site]:
        """Every site."""
        return await self._send(Call("GET", "/sites", {}), values.sites)

    async def site(self, site: str) -> Site:
        """One site."""
        return await self._send(Call("GET", calls.path("sites", site), {}), values.site)

    async def info(self) -> dict[str, Any]:
        """What really runs."""
        return await self._send(Call("GET", "/info", {}), values.info)

    async def _send(self, call: Call, parse: Callable[[Any], Parsed]) -> Parsed:
        return self.server.read(await self._answer(call), parse)

    async def _answer(self, call: Call) -> httpx.Response:
        request = calls.request(self.http, call)
        try:
            return await self.http.send(request)
        except calls.NO_ANSWER as error:
            raise self.server.unreachable(error) from error
