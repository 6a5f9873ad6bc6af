"""A deleted site is gone: from answers, from the store, after a restart, and for what was under way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import sqlalchemy as sa
from resight_client import Client, ResightError
from typer.testing import CliRunner

from cli.app import app
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.bundle import Bundle
from server.batching import EmbedError
from server.errors import Conflict, NotFound, Unprocessable
from server.gallery import tables as t
from server.gallery.records import NewItem
from server.job import ENDED
from server.jobs import Handle
from server.service import Service
from tests.tiny import make_tiny_bundle, open_tiny, picture, tiny_server

OF_A_SITE = (t.items, t.versions, t.jobs, t.schedules, t.fits, t.reviews)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that embeds in a moment."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """A service whose sites `lobby` and `yard` hold 20 pictures each; `lobby` is adapted and scheduled."""
    opened = open_tiny(bundle, tmp_path / "data")
    for site in ("lobby", "yard"):
        enroll(opened, site)
    job = asyncio.run(opened.adapting.adapt("lobby", "0", gate=False))
    while job.state not in ENDED:
        job = opened.jobs.get(job.id)
    asyncio.run(opened.schedule.set("lobby", 1000, None))
    yield opened
    opened.close()


def enroll(service: Service, site: str, key: str | None = None) -> None:
    """Enrolls twenty pictures of one camera."""
    records = [NewItem(camera="door", identity=f"person-{i}") for i in range(20)]
    asyncio.run(service.enrolling.enroll(site, [picture(i) for i in range(20)], records, key))


def delete(service: Service, site: str = "lobby") -> int:
    """Deletes a site; returns how many items it had."""
    return asyncio.run(service.site_deletion.delete(site, "tester")).count


def rows_of(service: Service, site: str) -> int:
    """How many rows of the store name the site, but for the audit log."""
    count = 0
    with service.store.database.read() as db:
        for table in OF_A_SITE:
            count += db.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.site == site)) or 0
        count += db.scalar(sa.select(sa.func.count()).select_from(t.sites).where(t.sites.c.name == site)) or 0
    return count


def profiles(service: Service) -> set[str]:
    """Those that the store keeps."""
    with service.store.database.read() as db:
        return set(db.execute(sa.select(t.profiles.c.id)).scalars())


def test_nothing_of_a_deleted_site_is_left_and_others_stay(service: Service) -> None:
    adapted = service.sites.get("lobby").state.version.profile_id
    before = rows_of(service, "yard")
    assert adapted in profiles(service)
    assert delete(service) == 20
    assert rows_of(service, "lobby") == 0
    assert rows_of(service, "yard") == before
    assert adapted not in profiles(service)
    with pytest.raises(NotFound):
        asyncio.run(service.querying.query("lobby", [picture(1)]))
    assert asyncio.run(service.querying.query("yard", [picture(1)])).matches
    with service.store.database.read() as db:
        noted = db.execute(sa.select(t.audit).where(t.audit.c.action == "delete-site")).one()
    assert (noted.actor, noted.site, noted.detail) == ("tester", "lobby", {"items": 20})


def test_a_deleted_site_stays_deleted_over_a_restart_and_begins_anew(
    service: Service, bundle: Bundle, tmp_path: Path
) -> None:
    enroll(service, "lobby", "a-key")
    delete(service)
    service.close()
    again = open_tiny(bundle, tmp_path / "data")
    try:
        assert list(again.sites.by_name) == ["yard"]
        with pytest.raises(Conflict, match="were erased"):  # a late repetition does not bring it back
            enroll(again, "lobby", "a-key")
        enroll(again, "lobby")
        site = again.status.site(again.sites.get("lobby"))
        assert (site.version, site.items, site.adapted, site.adapt_after) == (1, 20, False, None)
    finally:
        again.close()


def test_a_delete_that_fails_leaves_the_site_as_it_was(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(service, "lobby")

    def full(*arguments: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("server.gallery.versions.audit.note", full)  # the last thing of the transaction
        with pytest.raises(OSError, match="no space"):
            delete(service)
    assert rows_of(service, "lobby") == before
    assert asyncio.run(service.querying.query("lobby", [picture(1)], top_k=20)).matches
    enroll(service, "lobby")
    assert delete(service) == 40


@pytest.mark.parametrize("partial", [False, True])
def test_crops_that_the_engine_fails_on_begin_no_site(
    service: Service, monkeypatch: pytest.MonkeyPatch, partial: bool
) -> None:
    async def fail(profile_id: str, crops: np.ndarray, *_: Any) -> np.ndarray:
        raise EmbedError(dict.fromkeys(range(len(crops)), "the engine fails"))

    monkeypatch.setattr(service.embedding, "embed", fail)
    enrolling = service.enrolling.enroll("new", [picture(0)], [NewItem()], None, partial)
    if partial:
        assert len(asyncio.run(enrolling).errors) == 1
    else:
        with pytest.raises(Unprocessable, match="the engine fails"):
            asyncio.run(enrolling)
    assert "new" not in service.sites.by_name
    assert rows_of(service, "new") == 0


def test_crops_that_are_being_decoded_do_not_bring_a_site_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = service.embedding.decode

    async def delete_first(*arguments: Any) -> Any:
        await service.site_deletion.delete("lobby", "tester")
        return await real(*arguments)

    monkeypatch.setattr(service.embedding, "decode", delete_first)
    with pytest.raises(Conflict, match="was deleted while these crops were embedded"):
        enroll(service, "lobby")
    assert "lobby" not in service.sites.by_name


def test_crops_that_are_being_enrolled_do_not_bring_a_site_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = service.enrolling._write

    def delete_first(*arguments: Any) -> object:
        delete(service)
        return real(*arguments)

    monkeypatch.setattr(service.enrolling, "_write", delete_first)
    with pytest.raises(Conflict, match="was deleted while these crops were embedded"):
        enroll(service, "lobby")
    assert rows_of(service, "lobby") == 0
    assert "lobby" not in service.sites.by_name


def test_a_site_with_a_job_is_not_deleted(service: Service) -> None:
    begun, end = threading.Event(), threading.Event()

    def work(handle: Handle) -> None:
        begun.set()
        end.wait(20)

    job = service.jobs.start("lobby", "adapt", {}, work)
    assert begun.wait(20)
    with pytest.raises(Conflict, match=job.id):
        delete(service)
    end.set()
    while service.jobs.get(job.id).state not in ENDED:
        pass
    assert delete(service) == 20
    with pytest.raises(NotFound):
        service.jobs.get(job.id)


def test_no_job_begins_while_a_site_is_deleted(service: Service) -> None:
    with service.jobs.none_at("lobby"), pytest.raises(NotFound, match="is being deleted"):
        service.jobs.start("lobby", "adapt", {}, lambda handle: None)
    with pytest.raises(NotFound):
        delete(service, "nowhere")


def test_sites_are_listed_and_deleted_from_outside(tmp_path: Path) -> None:
    with tiny_server(tmp_path) as running, Client(running.url) as client:
        for site in ("lobby", "yard"):
            client.enroll(site, [picture(0), picture(1)])

        def run(*words: str, answer: str = "") -> str:
            command = [*words, "--server", running.url]
            return CliRunner().invoke(app, command, input=answer).output

        assert "yard" in run("sites")
        assert "nothing was deleted" in run("delete-site", "--site", "lobby", answer="n\n")
        assert "deleted site lobby with 2 item(s)" in run("delete-site", "--site", "lobby", "--yes")
        with pytest.raises(ResightError, match="there is no site 'lobby'"):
            client.delete_site("lobby")
        with grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
            stub = rpc.AdaptationStub(channel)
            assert stub.DeleteSite(pb.DeleteSiteRequest(site="yard")).erased == 2
            with pytest.raises(grpc.RpcError) as error:
                stub.DeleteSite(pb.DeleteSiteRequest(site="yard"))
            assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert client.sites() == []
