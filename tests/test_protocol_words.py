"""A caller of one protocol reads nothing of the other's: no header in a sentence over gRPC, no message over
HTTP."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.auth import Auth
from server.gallery.records import NewItem
from server.http.app import create_app
from server.service import Service
from tests.grpc_here import refusal, served
from tests.tiny import make_tiny_bundle, open_tiny, picture

SERVER = Path(__file__).parent.parent / "server"
OF_HTTP = re.compile(
    r"(?i)\b(headers?|forms?|file part|multipart|bod(y|ies)|urls?|http|routes?|query parameters?)\b|"
    r"\b(GET|POST|PUT|DELETE) |/(gallery|query|adapt|sites|info)\b|Idempotency-Key|Authorization|X-API-Key"
)
OF_GRPC = re.compile(
    r"(?i)grpc|proto\b|protobuf|\bmessages?\b|trailers?|_json\b|idempotency_key|crops\[|INVALID_"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with an item at site `lobby`."""
    folder = tmp_path_factory.mktemp("words")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    asyncio.run(
        opened.enrolling.enroll("lobby", [picture(0)], [NewItem("door", "ada")], idempotency_key="once")
    )
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def channel(service: Service) -> Iterator[grpc.Channel]:
    """A connection to a server that needs no key."""
    with served(service, required=False) as opened:
        yield opened


def sentences(folder: Path) -> Iterator[tuple[str, str]]:
    """(where, text) of every text that stands in a `raise` below a folder, but for those of the two skins."""
    for path in sorted(folder.rglob("*.py")):
        if path.parent.name in ("http", "grpc") or path.name in ("main.py", "listening.py", "settings.py"):
            continue
        for statement in ast.walk(ast.parse(path.read_text())):
            for part in ast.walk(statement) if isinstance(statement, ast.Raise) else ():
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield f"{path.name}:{part.lineno}", part.value


def test_what_both_protocols_share_says_nothing_of_either() -> None:
    shared = list(sentences(SERVER))
    assert len(shared) > 100
    of_one = [(where, text) for where, text in shared if OF_HTTP.search(text) or OF_GRPC.search(text)]
    # of the command line and of the start of the server, which both know URLs of databases; of the console
    elsewhere = ("address.py", "sessions.py")
    assert [where for where, _ in of_one if not where.startswith(elsewhere)] == [], of_one


CROP = pb.Crop(image=picture(0))
IMAGE = {"site": "lobby", "images": [picture(0)]}
DEEP = '{"k": ' + "[" * 40 + "]" * 40 + "}"
NAN = float("nan")
NO_LIST, NO_KEYS = '{"lacks_metadata": "k"}', '{"lacks_metadata": []}'


def enroll(**fields: Any) -> pb.EnrollRequest:
    """An enroll of one crop with these fields."""
    return pb.EnrollRequest(site="lobby", crops=[pb.Crop(image=picture(0), **fields)])


WRONG: list[tuple[str, Any, str]] = [
    ("Enroll", pb.EnrollRequest(site="lobby"), "no crops: send at least one in crops"),
    ("Enroll", pb.EnrollRequest(crops=[CROP]), "site"),
    ("Enroll", pb.EnrollRequest(site="../x", crops=[CROP]), "site"),
    ("Enroll", pb.EnrollRequest(site="lobby", crops=[pb.Crop()]), "image 0"),
    ("Enroll", enroll(camera="x" * 257), "crops[0].camera"),
    ("Enroll", enroll(identity="a\0"), "crops[0].identity"),
    ("Enroll", enroll(captured_at=NAN), "crops[0].captured_at nan is no time; send seconds since 1970"),
    ("Enroll", enroll(captured_at=-1), "crops[0].captured_at -1.0 lies outside"),
    ("Enroll", enroll(metadata_json="{"), "crops[0].metadata_json is not valid JSON"),
    ("Enroll", enroll(metadata_json="[]"), "crops[0].metadata_json must be a JSON object"),
    ("Enroll", enroll(metadata_json='{"k": []}'), "crops[0].metadata_json.k"),
    ("Enroll", enroll(metadata_json=DEEP), "crops[0].metadata_json is nested more than"),
    (
        "Enroll",
        pb.EnrollRequest(site="lobby", crops=[CROP], idempotency_key="k" * 257),
        "idempotency key 'kkk",
    ),
    (
        "Enroll",
        pb.EnrollRequest(site="lobby", crops=[CROP], idempotency_key="once"),
        "idempotency key 'once'",
    ),
    ("EnrollStream", pb.EnrollRequest(site="lobby"), "no crops"),
    ("Query", pb.QueryRequest(site="lobby"), "send either images"),
    ("Query", pb.QueryRequest(**IMAGE, item_id="x"), "send either images"),
    ("Query", pb.QueryRequest(**IMAGE, filter_json="{"), "filter_json is not valid JSON"),
    ("Query", pb.QueryRequest(**IMAGE, filter_json=DEEP), "filter_json is nested more than"),
    ("Query", pb.QueryRequest(**IMAGE, filter_json='{"id": 1}'), "filter_json has the unknown key 'id'"),
    ("Query", pb.QueryRequest(**IMAGE, filter_json='{"camera": ""}'), "filter_json.camera is empty"),
    ("Query", pb.QueryRequest(**IMAGE, filter_json='{"captured_after": 1e99}'), "filter_json.captured_after"),
    ("Query", pb.QueryRequest(**IMAGE, threshold=NAN), "threshold is nan"),
    ("Query", pb.QueryRequest(**IMAGE, top_k=2**32 - 1), "top_k"),
    ("Query", pb.QueryRequest(**IMAGE, exclude_same_camera=True), "exclude_same_camera needs"),
    ("Query", pb.QueryRequest(**IMAGE, query_camera="a", camera="b"), "query_camera 'a' and camera 'b'"),
    ("List", pb.ListRequest(site="lobby", camera=""), "camera is empty"),
    ("List", pb.ListRequest(site="lobby", captured_after=NAN), "captured_after nan is no time"),
    ("List", pb.ListRequest(site="lobby", cursor="-1"), "cursor"),
    ("List", pb.ListRequest(site="lobby", limit=1001), "limit"),
    ("List", pb.ListRequest(site="lobby", filter_json='{"metadata": {"k": {}}}'), "filter_json.metadata.k"),
    (
        "List",
        pb.ListRequest(site="lobby", filter_json='{"metadata": {"k": 1}, "lacks_metadata": ["k"]}'),
        "filter_json.lacks_metadata and filter_json.metadata.k can be met by no item",
    ),
    ("Erase", pb.EraseRequest(site="lobby"), "nothing says what to erase"),
    ("Erase", pb.EraseRequest(site="lobby", filter_json="{}"), "nothing says what to erase"),
    ("Erase", pb.EraseRequest(site="lobby", all=True, camera="door"), "all erases the whole site"),
    (
        "Erase",
        pb.EraseRequest(site="lobby", filter_json=NO_KEYS),
        "filter_json.lacks_metadata is a list of 0 keys",
    ),
    (
        "Erase",
        pb.EraseRequest(site="lobby", filter_json='{"without": ["k"]}'),
        "filter_json has the unknown key 'without'",
    ),
    ("Erase", pb.EraseRequest(item_id="x", camera="door"), "item_id names one item"),
    ("Adapt", pb.AdaptRequest(site="lobby", tier="9"), "tier '9' is unknown"),
    ("Adapt", pb.AdaptRequest(site="lobby", seed=-1), "seed is -1"),
    ("Adapt", pb.AdaptRequest(site="lobby", max_samples=1), "max_samples is 1"),
    ("Adapt", pb.AdaptRequest(site="lobby", refit=True, tier="0"), "refit makes the tiers"),
    (
        "SetAdaptAfter",
        pb.SetAdaptAfterRequest(site="lobby", adapt_after=pb.AdaptAfter(items=0)),
        "items is 0",
    ),
    (
        "SetAdaptAfter",
        pb.SetAdaptAfterRequest(site="lobby", adapt_after=pb.AdaptAfter(hours=NAN)),
        "hours is nan",
    ),
    ("RollBack", pb.RollBackRequest(site="lobby"), "site 'lobby' is on version 1"),
    ("DeleteSite", pb.DeleteSiteRequest(), "site is empty"),
]


@pytest.mark.parametrize(("method", "message", "sentence"), WRONG)
def test_an_error_over_grpc_has_the_words_of_the_message(
    channel: grpc.Channel, service: Service, method: str, message: Any, sentence: str
) -> None:
    gallery, adaptation = rpc.GalleryStub(channel), rpc.AdaptationStub(channel)
    call = getattr(gallery, method, None) or getattr(adaptation, method)
    code, detail = refusal(call, iter([message]) if method == "EnrollStream" else message)
    assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)
    assert detail.startswith(sentence)
    assert not OF_HTTP.search(detail)
    assert len(service.sites.get("lobby").state.index) == 1


def test_who_sends_no_key_is_told_where_it_goes(service: Service) -> None:
    with served(service, required=True) as channel:
        code, detail = refusal(rpc.GalleryStub(channel).List, pb.ListRequest(site="lobby"))
    assert code == grpc.StatusCode.UNAUTHENTICATED
    assert detail == "send an API key: metadata 'authorization: Bearer KEY' or 'x-api-key: KEY'"


FILE = [("images", ("x.png", picture(0), "image/png"))]
REQUESTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/gallery", {"data": {"site": "lobby"}}, "no images: send at least one, or vectors"),
    ("POST", "/gallery", {"files": FILE}, "site is missing"),
    (
        "POST",
        "/gallery",
        {"data": {"site": "lobby", "metadata": "["}, "files": FILE},
        "metadata is not valid",
    ),
    ("POST", "/gallery", {"data": {"site": "lobby", "metadata": DEEP}, "files": FILE}, "metadata is nested"),
    (
        "POST",
        "/gallery",
        {"data": {"site": "lobby", "captured_at": "nan"}, "files": FILE},
        "captured_at 'nan'",
    ),
    ("POST", "/query", {"data": {"site": "lobby", "filter": '{"id": 1}'}, "files": FILE}, "filter has the"),
    ("POST", "/query", {"data": {"site": "lobby"}}, "send either images"),
    (
        "GET",
        "/gallery",
        {"params": {"site": "lobby", "filter": NO_LIST}},
        "filter.lacks",
    ),
    (
        "DELETE",
        "/gallery",
        {"params": {"site": "lobby", "filter": NO_KEYS}},
        "filter.lacks",
    ),
    ("DELETE", "/gallery", {"params": {"site": "lobby", "lacks_metadata": "k"}}, "unknown query parameter"),
    ("DELETE", "/gallery", {"params": {"site": "lobby"}}, "nothing says what to erase"),
    ("GET", "/gallery/nothing/image", {}, "there is no item"),
    ("POST", "/adapt", {"json": {"site": "lobby", "tier": "9"}}, "tier '9' is unknown"),
    ("PUT", "/sites/lobby/adapt-after", {"json": {"items": 0}}, "items is 0"),
]


@pytest.mark.parametrize(("method", "path", "options", "sentence"), REQUESTS)
def test_an_error_over_http_has_the_words_of_the_request(
    service: Service, method: str, path: str, options: dict[str, Any], sentence: str
) -> None:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(service, Auth(service.store, required=False)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    answer = asyncio.run(send())
    assert answer.status_code in (400, 404)
    assert answer.json()["detail"].startswith(sentence), answer.json()["detail"]
    assert not OF_GRPC.search(answer.json()["detail"])
    assert len(service.sites.get("lobby").state.index) == 1
