"""The event loop serves everybody, so nothing that waits may run in it: no SQL, no compilation, no job."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import sqlalchemy as sa

from benchmarks.serving import free_ports
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.bundle import Bundle
from server.auth import Auth, make_key
from server.grpc.app import create_server
from server.http.app import create_app
from server.main import open_service
from server.service import Service
from server.settings import Settings

People = list[tuple[bytes, str, str]]


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """Everything behind the protocols, with keys."""
    opened = open_service(Settings(bundle=bundle.path, data=tmp_path / "data", device="cpu", auth="on"))
    yield opened
    opened.close()


@asynccontextmanager
async def http_of(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service's application, which runs in this event loop."""
    key = make_key(service.store, "admin").text
    app = create_app(service, Auth(service.store, required=True))
    transport = httpx.ASGITransport(app)
    headers = {"X-API-Key": key}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://resight", headers=headers, timeout=120
    ) as client:
        yield client


def enrolling(people: People, site: str) -> dict[str, Any]:
    """The body of an enroll."""
    return {
        "files": [("images", (f"{i}.jpg", data)) for i, (data, _, _) in enumerate(people)],
        "data": {"site": site, "camera": "door"},
    }


async def call_everything_over_http(client: httpx.AsyncClient, people: People) -> None:
    """Every operation once, an adaptation and its undoing among them."""
    enrolled = await client.post("/gallery", **enrolling(people, "hall"), headers={"Idempotency-Key": "once"})
    assert enrolled.status_code == 201, enrolled.text
    item = enrolled.json()["items"][0]["id"]
    jobs = []
    for path, body in (
        ("/adapt", {"site": "hall", "tier": "2", "gate": False}),
        ("/sites/hall/rollback", None),
    ):
        started = await client.post(path, json=body)
        assert started.status_code == 202, started.text
        job = started.json()["job"]
        async with client.stream("GET", f"/adapt/{job}/events") as events:
            text = "".join([part async for part in events.aiter_text()])
        assert '"state":"succeeded"' in text
        jobs.append(job)
    again = await client.post("/gallery", **enrolling(people, "hall"), headers={"Idempotency-Key": "once"})
    assert again.json()["items"][0]["id"] == item
    await client.post("/gallery", **enrolling(people, "attic"))
    filtering = {"site": "hall", "filter": '{"metadata": {"a": 1}}'}
    for answer in (
        await client.post("/query", data={"site": "hall", "item_id": item}),
        await client.post("/query", files=[("images", people[0][0])], data=filtering),
        await client.get("/gallery", params={"site": "hall"}),
        await client.get(f"/gallery/{item}"),
        await client.get(f"/gallery/{item}/image"),
        await client.get(f"/adapt/{jobs[0]}"),
        await client.get(f"/adapt/{jobs[0]}/events"),
        await client.delete(f"/adapt/{jobs[0]}"),
        await client.get("/sites"),
        await client.get("/sites/hall"),
        await client.put("/sites/hall/adapt-after", json={"items": 500}),
        await client.get("/info"),
        await client.get("/ready"),
        await client.get("/metrics"),
        await client.delete(f"/gallery/{item}"),
        await client.delete("/gallery", params={"site": "hall", "identity": "nobody"}),
        await client.delete("/sites/attic"),
    ):
        assert answer.status_code == 200, (answer.request.url, answer.text)


async def call_everything_over_grpc(service: Service, people: People) -> None:
    """Every method once."""
    (port,) = free_ports(1)
    metadata = (("authorization", f"Bearer {make_key(service.store, 'admin').text}"),)
    server = await create_server(service, Auth(service.store, required=True), f"127.0.0.1:{port}")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        gallery, adaptation = rpc.GalleryStub(channel), rpc.AdaptationStub(channel)
        crops = [pb.Crop(image=data) for data, _, _ in people]
        enroll = pb.EnrollRequest(site="yard", crops=crops)
        enrolled = await gallery.Enroll(enroll, metadata=metadata)
        async for _ in gallery.EnrollStream(iter([enroll]), metadata=metadata):
            pass
        item = enrolled.items[0].id
        await gallery.Query(pb.QueryRequest(site="yard", item_id=item), metadata=metadata)
        for job in (
            await adaptation.Adapt(pb.AdaptRequest(site="yard", tier="none"), metadata=metadata),
            await adaptation.RollBack(pb.RollBackRequest(site="hall"), metadata=metadata),
        ):
            request = pb.JobRequest(job=job.job)
            async for _ in adaptation.WatchJob(request, metadata=metadata):
                pass
            await adaptation.GetJob(request, metadata=metadata)
            await adaptation.CancelJob(request, metadata=metadata)
        every = pb.SetAdaptAfterRequest(site="hall", adapt_after=pb.AdaptAfter(hours=24))
        assert (await adaptation.SetAdaptAfter(every, metadata=metadata)).hours == 24
        await gallery.Erase(pb.EraseRequest(item_id=item), metadata=metadata)
        await adaptation.DeleteSite(pb.DeleteSiteRequest(site="yard"), metadata=metadata)
    await server.stop(1)


def test_no_operation_reads_or_writes_the_store_in_the_event_loop(service: Service, people: People) -> None:
    loop_thread = threading.get_ident()
    in_loop: list[str] = []
    statements = 0

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        nonlocal statements
        statements += 1
        if threading.get_ident() == loop_thread:
            in_loop.append(statement)

    async def main() -> None:
        async with http_of(service) as client:
            sa.event.listen(service.store.database.engine, "before_cursor_execute", note)
            await call_everything_over_http(client, people)
            await client.post("/adapt", json={"site": "hall", "tier": "none"})
        sa.event.remove(service.store.database.engine, "before_cursor_execute", note)

    asyncio.run(main())
    assert statements > 100
    assert in_loop == []


def test_while_another_program_holds_the_database_everything_that_only_reads_is_answered(
    service: Service, people: People, tmp_path: Path
) -> None:
    """The lock is given back only when the answers are there: a loop that waited for it would never give
    them."""

    async def main() -> None:
        async with http_of(service) as client:
            assert (await client.post("/gallery", **enrolling(people[:16], "hall"))).status_code == 201
            item = (await client.get("/gallery", params={"site": "hall"})).json()["items"][0]["id"]
            other = sqlite3.connect(tmp_path / "data" / "gallery.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            writing = [
                asyncio.create_task(client.post("/gallery", **enrolling(people[:1], "a-new-site"))),
                asyncio.create_task(client.post("/gallery", **enrolling(people[:1], "hall"))),
                asyncio.create_task(client.post("/adapt", json={"site": "hall", "tier": "none"})),
                asyncio.create_task(client.delete(f"/gallery/{item}")),
                asyncio.create_task(client.get("/ready")),
            ]
            await asyncio.sleep(0.5)  # so that they have come to the store
            for _ in range(3):
                for path in ("/health", "/sites", "/info", "/adapt/no-such-job", "/gallery?site=hall"):
                    answer = await asyncio.wait_for(client.get(path), 20)
                    assert answer.status_code == (404 if "no-such-job" in path else 200)
                files = [("images", people[3][0])]
                asked = client.post("/query", files=files, data={"site": "hall"})
                assert (await asyncio.wait_for(asked, 20)).status_code == 200
            assert not any(task.done() for task in writing)
            other.execute("ROLLBACK")
            other.close()
            assert [(await task).status_code // 100 for task in writing] == [2, 2, 2, 2, 2]

    asyncio.run(main())


def test_a_site_whose_engine_is_being_compiled_holds_up_nobody_else(
    service: Service, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, started = threading.Event(), threading.Event()
    real = service.engines.base.engine.with_profile

    def held_back(profile: Any) -> Any:
        started.set()
        gate.wait(60)
        return real(profile)

    async def ask(client: httpx.AsyncClient, site: str) -> int:
        answer = await client.post("/query", files=[("images", people[0][0])], data={"site": site})
        return answer.status_code

    async def main() -> None:
        async with http_of(service) as client:
            await client.post("/gallery", **enrolling(people, "hall"))
            await client.post("/gallery", **enrolling(people[:2], "yard"))
            job = (await client.post("/adapt", json={"site": "hall", "tier": "2", "gate": False})).json()[
                "job"
            ]
            assert '"state":"succeeded"' in (await client.get(f"/adapt/{job}/events")).text
            service.engines.keep_only(())  # as if others had pushed it out
            monkeypatch.setattr(service.engines.base.engine, "with_profile", held_back)
            waiting = [asyncio.create_task(ask(client, "hall")) for _ in range(2)]
            assert await asyncio.to_thread(started.wait, 20)
            for _ in range(5):
                assert await asyncio.wait_for(ask(client, "yard"), 20) == 200
                assert (await asyncio.wait_for(client.get("/ready"), 20)).status_code == 200
            assert not any(task.done() for task in waiting)
            gate.set()
            assert await asyncio.gather(*waiting) == [200, 200]

    asyncio.run(main())
