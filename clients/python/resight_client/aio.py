"""The async client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

from resight_client import calls, values
from resight_client.calls import Call, Filter, Image
from resight_client.values import Answer, Enrolled, Erased, Item, Job, JobFailed, Page, Site


class AsyncClient:
    """A connection to one server.

    Args:
        url: of the server. api_key: where it needs one. timeout_s: for one answer.

    Every method raises ResightError with the server's sentence.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", api_key: str | None = None, timeout_s: float = 120.0
    ) -> None:
        self.url = url.rstrip("/")
        self.http = httpx.AsyncClient(base_url=self.url, headers=calls.headers(api_key), timeout=timeout_s)

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
        images: Sequence[Image],
        *,
        camera: str | None = None,
        identity: str | None = None,
        captured_at: str | float | None = None,
        metadata: dict[str, Any] | None = None,
        records: Sequence[dict[str, Any]] | None = None,
        partial: bool = False,
        idempotency_key: str | None = None,
    ) -> Enrolled:
        """Enrolls crops: the fields hold for all of them, or `records` has one object a crop."""
        call = calls.enroll(
            site, images, camera, identity, captured_at, metadata, records, partial, idempotency_key
        )
        return values.enrolled(await self._send(call))

    async def query(
        self,
        site: str,
        images: Image | Sequence[Image] | None = None,
        *,
        item_id: str | None = None,
        top_k: int = 10,
        query_camera: str | None = None,
        camera: str | None = None,
        exclude_same_camera: bool = False,
        filter: Filter | None = None,
        threshold: float | None = None,
    ) -> Answer:
        """Ranks a site's gallery for a crop, the crops of one tracklet, or an enrolled item.

        Args:
            query_camera: where the query was seen; `camera` is its older name. It restricts nothing by
                itself: `filter` does, see docs/filters.md.
        """
        call = calls.query(
            site, images, item_id, top_k, query_camera, camera, exclude_same_camera, filter, threshold
        )
        return values.answer(await self._send(call))

    async def item(self, item_id: str) -> Item:
        """One item."""
        return values.item(await self._send(Call("GET", calls.path("gallery", item_id), {})))

    async def items(
        self,
        site: str,
        *,
        camera: str | None = None,
        identity: str | None = None,
        captured_after: str | float | None = None,
        captured_before: str | float | None = None,
        filter: Filter | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """A page of a site's items: those that meet every condition."""
        where = calls.conditions(camera, identity, captured_after, captured_before, filter)
        return values.page(await self._send(calls.listing(site, where, cursor, limit)))

    async def erase(self, item_id: str, site: str | None = None) -> Erased:
        """Erases an item; with `site`, only if it is of that site."""
        return values.erased(await self._send(calls.erase(item_id, site)))

    async def erase_identity(self, site: str, identity: str) -> Erased:
        """Erases every item of an identity."""
        return await self.erase_items(site, identity=identity)

    async def erase_items(
        self,
        site: str,
        *,
        camera: str | None = None,
        identity: str | None = None,
        captured_after: str | float | None = None,
        captured_before: str | float | None = None,
        filter: Filter | None = None,
        all: bool = False,
    ) -> Erased:
        """Erases the items that `items` gives under the same conditions.

        Without a condition nothing is erased, unless `all` says that the whole site is meant.
        """
        where = calls.conditions(camera, identity, captured_after, captured_before, filter)
        return values.erased(await self._send(calls.erase_items(site, where, all)))

    async def adapt(
        self,
        site: str,
        tier: str | int = "auto",
        *,
        max_samples: int | None = None,
        seed: int = 0,
        gate: bool = True,
    ) -> Job:
        """Starts an adaptation.

        Args:
            tier: "auto", "none" (back to the bundle's own values), or tiers like 0, "1" or "1+0".
            gate: False takes what was asked for without judging whether it helps.
        """
        return values.job(await self._send(calls.adapt(site, tier, max_samples, seed, gate)))

    async def roll_back(self, site: str) -> Job:
        """Starts the undoing of the site's last adaptation."""
        return values.job(await self._send(Call("POST", calls.path("sites", site, "rollback"), {})))

    async def job(self, job: str) -> Job:
        """A job now."""
        return values.job(await self._send(Call("GET", calls.path("adapt", job), {})))

    async def cancel(self, job: str) -> Job:
        """Asks a job to end."""
        return values.job(await self._send(Call("DELETE", calls.path("adapt", job), {})))

    async def watch(self, job: str) -> AsyncIterator[Job]:
        """The job now and after every change, until it has ended."""
        try:
            async with self.http.stream("GET", calls.path("adapt", job, "events"), timeout=None) as response:
                if response.status_code >= 400:
                    raise calls.failure(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    data = calls.event(line)
                    if data is not None:
                        yield values.job(data)
        except httpx.TransportError as error:
            raise calls.unreachable(self.url, error) from error

    async def wait(self, job: str) -> Job:
        """The job when it has ended. Raises JobFailed unless it succeeded."""
        last = await self.job(job)
        if not last.ended:
            async for update in self.watch(job):
                last = update
        if last.state != "succeeded":
            raise JobFailed(last)
        return last

    async def sites(self) -> list[Site]:
        """Every site."""
        return [values.site(site) for site in await self._send(Call("GET", "/sites", {}))]

    async def site(self, site: str) -> Site:
        """One site."""
        return values.site(await self._send(Call("GET", calls.path("sites", site), {})))

    async def info(self) -> dict[str, Any]:
        """What really runs."""
        report: dict[str, Any] = await self._send(Call("GET", "/info", {}))
        return report

    async def _send(self, call: Call) -> Any:
        try:
            return calls.read(await self.http.request(call.method, call.path, **call.options))
        except UnicodeEncodeError as error:
            raise calls.no_text(error) from error
        except httpx.TransportError as error:
            raise calls.unreachable(self.url, error) from error
