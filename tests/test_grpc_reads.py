"""Over gRPC an item, its image, the sites and the server are read as over HTTP: same words, same scopes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, get_args

import grpc
import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.auth import Auth, make_key
from server.gallery.records import NewItem
from server.grpc.app import SCOPES
from server.grpc.gallery import _PART
from server.http.app import create_app
from server.media import media_type_of
from server.reports import ServerReport, SiteReport
from server.service import Service
from tests.grpc_here import refusal, served
from tests.tiny import make_tiny_bundle, open_tiny, picture

LARGE = picture(1) + bytes(2 * _PART)  # what stands behind a picture is kept with it


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two items at site `lobby`, the second of which has a large image, and one at `annex`."""
    folder = tmp_path_factory.mktemp("reads")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    records = [NewItem("door", "ada", 5.5, {"n": 1}), NewItem()]
    asyncio.run(opened.enrolling.enroll("lobby", [picture(0), LARGE], records))
    asyncio.run(opened.enrolling.enroll("annex", [picture(2)], [NewItem()]))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def channel(service: Service) -> Iterator[grpc.Channel]:
    """A connection to a server that needs keys."""
    with served(service, required=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def keys(service: Service) -> dict[str, str]:
    """A key of every scope."""
    return {scope: make_key(service.store, scope).text for scope in ("read", "write", "admin")}


@pytest.fixture
def read(keys: dict[str, str]) -> dict[str, Any]:
    """What a call with the least key is made with."""
    return {"metadata": [("x-api-key", keys["read"])], "timeout": 20}


@pytest.fixture(scope="module")
def ids(service: Service) -> list[str]:
    """Ids of the items of `lobby`."""
    seqs = [int(seq) for seq in service.store.items.seqs("lobby")]
    return [service.store.items.by_seq(seqs)[seq].id for seq in seqs]


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The HTTP application over the same service."""
    return create_app(service, Auth(service.store, required=False))


def by_http(app: FastAPI, path: str) -> httpx.Response:
    """The answer of HTTP."""

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path)

    return asyncio.run(get())


def test_an_item_is_read(channel: grpc.Channel, read: dict[str, Any], ids: list[str]) -> None:
    gallery = rpc.GalleryStub(channel)
    item = gallery.GetItem(pb.GetItemRequest(item_id=ids[0]), **read)
    assert (item.id, item.site, item.camera, item.identity) == (ids[0], "lobby", "door", "ada")
    assert (item.captured_at, json.loads(item.metadata_json)) == (5.5, {"n": 1})
    assert [item] == list(gallery.List(pb.ListRequest(site="lobby", limit=1), **read).items)


def test_an_image_comes_in_parts_that_every_client_takes_and_is_noted(
    channel: grpc.Channel, service: Service, read: dict[str, Any], ids: list[str]
) -> None:
    gallery = rpc.GalleryStub(channel)
    (whole,) = gallery.GetImage(pb.GetImageRequest(item_id=ids[0]), **read)
    assert (whole.data, whole.media_type) == (picture(0), "image/png")
    parts = list(gallery.GetImage(pb.GetImageRequest(item_id=ids[1]), **read))
    assert b"".join(part.data for part in parts) == LARGE
    assert [len(part.data) for part in parts] == [_PART, _PART, len(LARGE) - 2 * _PART]
    noted = [line for line in service.store.audit.lines() if line["action"] == "read-image"]
    assert [line["detail"]["item"] for line in noted] == ids
    assert {line["actor"] for line in noted} == {service.store.keys.all()[0]["id"]}


def test_sites_are_read_as_over_http(channel: grpc.Channel, app: FastAPI, read: dict[str, Any]) -> None:
    adaptation = rpc.AdaptationStub(channel)
    sites = adaptation.ListSites(pb.ListSitesRequest(), **read).sites
    assert [site.site for site in sites] == ["annex", "lobby"]
    assert adaptation.GetSite(pb.GetSiteRequest(site="lobby"), **read) == sites[1]
    assert said(sites[1]) == known(by_http(app, "/sites/lobby").json())


def test_a_sites_schedule_is_read_with_why_it_waits(
    channel: grpc.Channel, service: Service, app: FastAPI, read: dict[str, Any]
) -> None:
    asyncio.run(service.schedule.set("annex", 1, None))
    service.schedule.run_due()
    site = rpc.AdaptationStub(channel).GetSite(pb.GetSiteRequest(site="annex"), **read)
    assert "at least" in site.adapt_after.waits
    assert said(site) == known(by_http(app, "/sites/annex").json())
    asyncio.run(service.schedule.set("annex", None, None))


def test_what_really_runs_is_read_as_over_http(
    channel: grpc.Channel, app: FastAPI, read: dict[str, Any]
) -> None:
    mine = said(rpc.SystemStub(channel).GetInfo(pb.GetInfoRequest(), **read))
    other = by_http(app, "/info").json()
    mine["bundle"]["metrics"] = json.loads(mine["bundle"].pop("metrics_json"))
    mine["uptime_s"] = other["uptime_s"]
    assert mine == known(other)


def test_whoever_waits_for_the_purge_asks_without_a_key(channel: grpc.Channel) -> None:
    assert rpc.SystemStub(channel).Ready(pb.ReadyRequest(), timeout=20).purged is True


def test_a_job_says_what_was_asked_and_when(
    channel: grpc.Channel, service: Service, app: FastAPI, keys: dict[str, str]
) -> None:
    adaptation, admin = rpc.AdaptationStub(channel), {"metadata": [("x-api-key", keys["admin"])]}
    job = adaptation.Adapt(pb.AdaptRequest(site="lobby", tier="none", seed=7), **admin, timeout=20)
    last = list(adaptation.WatchJob(pb.JobRequest(job=job.job), **admin, timeout=20))[-1]
    other = by_http(app, f"/adapt/{job.job}").json()
    assert json.loads(last.asked_json) == other["asked"]
    assert other["asked"]["seed"] == 7
    assert last.created_at == service.jobs.get(job.job).created_at


@pytest.mark.parametrize("method", [method for method in SCOPES if method.startswith("/resight.")])
def test_a_field_that_a_method_does_not_know_is_refused(
    channel: grpc.Channel, keys: dict[str, str], method: str
) -> None:
    status, detail = refusal(channel.unary_stream(method), b"\xfa\x07\x02c1", keys["admin"])  # field 127
    assert (status, "Request.127" in detail) == (grpc.StatusCode.INVALID_ARGUMENT, True)


def names_of(report: type[BaseModel]) -> dict[str, Any]:
    """The fields of a report, with those of the reports in it."""
    names: dict[str, Any] = {}
    for name, field in report.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        names[name] = names_of(inner[0]) if inner else {}
    return names


def names_in(message: Any) -> dict[str, Any]:
    """The fields of a message, with those of the messages in it."""
    names: dict[str, Any] = {}
    for field in message.fields:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            inner = inner.fields_by_name["value"].message_type  # None for a map to plain values
        is_object = inner is not None
        names[field.name.removesuffix("_json")] = names_in(inner) if is_object else {}
    return names


@pytest.mark.parametrize(("report", "message"), [(SiteReport, pb.Site), (ServerReport, pb.Info)])
def test_every_field_of_a_report_is_in_its_message(report: type[BaseModel], message: Any) -> None:
    assert names_in(message.DESCRIPTOR) == names_of(report)


NOTHING = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
WRONG: list[tuple[str, Any, grpc.StatusCode, str]] = [
    ("GetItem", pb.GetItemRequest(), NOTHING[1], "item_id is empty"),
    ("GetItem", pb.GetItemRequest(item_id="nothing"), NOTHING[0], "there is no item 'nothing'"),
    ("GetItem", pb.GetItemRequest(item_id="\0"), NOTHING[0], "there is no item"),
    ("GetImage", pb.GetImageRequest(), NOTHING[1], "item_id is empty"),
    ("GetImage", pb.GetImageRequest(item_id="../" * 99), NOTHING[0], "there is no item"),
    ("GetSite", pb.GetSiteRequest(), NOTHING[1], "site is empty"),
    ("GetSite", pb.GetSiteRequest(site="nowhere"), NOTHING[0], "there is no site 'nowhere'"),
    ("GetJob", pb.JobRequest(), NOTHING[1], "job is empty"),
    ("WatchJob", pb.JobRequest(), NOTHING[1], "job is empty"),
    ("CancelJob", pb.JobRequest(), NOTHING[1], "job is empty"),
]


@pytest.mark.parametrize(("method", "message", "code", "sentence"), WRONG)
def test_wrong_words_are_one_sentence(
    channel: grpc.Channel,
    keys: dict[str, str],
    method: str,
    message: Any,
    code: grpc.StatusCode,
    sentence: str,
) -> None:
    stub = rpc.GalleryStub(channel) if "Item" in method or "Image" in method else rpc.AdaptationStub(channel)
    status, detail = refusal(getattr(stub, method), message, keys["admin"])
    assert (status, detail.startswith(sentence)) == (code, True), detail


def test_an_image_that_was_not_kept_is_not_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("unkept")
    service = open_tiny(make_tiny_bundle(folder), folder / "data", keep_images=False)
    item = asyncio.run(service.enrolling.enroll("lobby", [picture(0)], [NewItem()])).items[0]
    with served(service, required=False) as channel:
        said = refusal(rpc.GalleryStub(channel).GetImage, pb.GetImageRequest(item_id=item.id))
    service.close()
    assert said == (grpc.StatusCode.NOT_FOUND, f"the image of item {item.id!r} was not kept")


def test_an_answer_that_is_too_large_for_a_message_is_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("large")
    service = open_tiny(make_tiny_bundle(folder), folder / "data", max_request_bytes=20_000)
    records = [NewItem(metadata={"note": "x" * 5000})] * 5
    asyncio.run(service.enrolling.enroll("lobby", [picture(i) for i in range(5)], records))
    with served(service, required=False) as channel:
        gallery = rpc.GalleryStub(channel)
        code, detail = refusal(gallery.List, pb.ListRequest(site="lobby"))
        assert len(gallery.List(pb.ListRequest(site="lobby", limit=2), timeout=20).items) == 2
    service.close()
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 20000 are sent in one message: ask for less with limit or top_k" in detail


@pytest.mark.parametrize("method", [method for method, scope in SCOPES.items() if scope is not None])
def test_every_method_is_refused_without_the_scope_it_needs(
    channel: grpc.Channel, keys: dict[str, str], method: str
) -> None:
    call, scope = channel.unary_stream(method), SCOPES[method]
    assert refusal(call, b"")[0] == grpc.StatusCode.UNAUTHENTICATED
    lower = {"write": "read", "admin": "write"}.get(str(scope))
    if lower is not None:
        status, detail = refusal(call, b"", keys[lower])
        assert (status, f"scope {scope}" in detail) == (grpc.StatusCode.PERMISSION_DENIED, True)


@pytest.mark.parametrize(
    ("begins", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"RIFF\x10\0\0\0WEBP", "image/webp"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "image/avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "image/avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x14ftypheic\0\0\0\0mif1\0\0\0\x08avif", "image/heic"),
    ],
)
def test_a_kept_image_says_what_it_is(begins: bytes, kind: str) -> None:
    assert media_type_of(begins + b"\0" * 40) == kind


def said(message: Any) -> dict[str, Any]:
    """A message as HTTP would say it: what is unset is left out."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.has_presence and not message.HasField(field.name):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            of_objects = field.message_type.fields_by_name["value"].message_type is not None
            value = {key: said(one) if of_objects else one for key, one in value.items()}
        elif field.is_repeated:
            value = [said(one) if field.message_type is not None else one for one in value]
        elif field.message_type is not None:
            value = said(value)
        values[field.name] = value
    return values


def known(report: dict[str, Any]) -> dict[str, Any]:
    """A report of HTTP without what is null."""
    return {
        name: known(value) if isinstance(value, dict) else value
        for name, value in report.items()
        if value is not None
    }
