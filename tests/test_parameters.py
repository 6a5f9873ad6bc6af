"""Every route refuses what it does not declare, and names it: no parameter is ignored."""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx
import pytest
from fastapi import params
from fastapi.routing import APIRoute
from resight_client import Client

from benchmarks.serving import ServerProcess
from server.http.app import ROUTERS
from server.http.declared import DeclaredRoute
from tests.conftest import enroll_people

People = list[tuple[bytes, str, str]]
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
CALLS = [(method, route) for route in ROUTES for method in sorted(route.methods)]
QUERY = [(call, field.alias) for call in CALLS for field in call[1].dependant.query_params]
FORMS = [
    (call, field)
    for call in CALLS
    for field in call[1].dependant.body_params
    if isinstance(field.field_info, params.Form)
]
NO_BODY = [call for call in CALLS if not call[1].dependant.body_params]
FILE = ("x.jpg", b"x", "image/jpeg")


def named(call: tuple[str, APIRoute]) -> str:
    """A call as a test's name."""
    return f"{call[0]} {call[1].path}"


def named_field(pair: Any) -> str:
    """A call and its field as a test's name."""
    return f"{named(pair[0])} {getattr(pair[1], 'alias', pair[1])}"


def send(server: ServerProcess, call: tuple[str, APIRoute], **options: Any) -> str:
    """The detail of the 400 that the call answers."""
    method, route = call
    url = server.url + re.sub(r"\{\w+\}", "x", route.path)
    response = httpx.request(method, url, timeout=30, **options)
    assert response.status_code == 400, response.text
    if method == "HEAD":  # its answers have no body; GET answers the same
        response = httpx.request("GET", url, timeout=30, **options)
    detail: str = response.json()["detail"]
    return detail


def test_every_route_of_the_document_is_walked(server: ServerProcess) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    documented = {(method.upper(), path) for path, calls in document.items() for method in calls}
    assert documented <= {(method, route.path) for method, route in CALLS}
    assert all(isinstance(route, DeclaredRoute) for route in ROUTES)
    assert len(CALLS) >= 17
    assert len(QUERY) >= 15
    assert len(FORMS) >= 16


@pytest.mark.parametrize("call", CALLS, ids=named)
def test_an_unknown_query_parameter_is_named(server: ServerProcess, call: tuple[str, APIRoute]) -> None:
    detail = send(server, call, params={"topk": "3"})
    assert "unknown query parameter 'topk'" in detail
    assert all(field.alias in detail for field in call[1].dependant.query_params)


@pytest.mark.parametrize("pair", QUERY, ids=named_field)
def test_a_query_parameter_is_sent_once_and_not_empty(server: ServerProcess, pair: Any) -> None:
    call, name = pair
    assert f"{name} is sent 2 times" in send(server, call, params=[(name, "1"), (name, "1")])
    assert f"{name} is empty" in send(server, call, params={name: ""})


@pytest.mark.parametrize("pair", FORMS, ids=named_field)
def test_a_form_field_has_its_kind_and_is_sent_once(server: ServerProcess, pair: Any) -> None:
    call, field = pair
    if isinstance(field.field_info, params.File):
        assert f"{field.alias} is sent as text" in send(server, call, files={field.alias: (None, "x")})
        return
    assert f"{field.alias} is sent as a file" in send(server, call, files={field.alias: FILE})
    twice = [(field.alias, (None, "1")), (field.alias, (None, "2"))]
    if field.alias != "vector":  # those of a tracklet, or of many items
        assert f"{field.alias} is sent 2 times" in send(server, call, files=twice)
    assert "here it is a form field" in send(server, call, params={field.alias: "x"})


@pytest.mark.parametrize("call", list({named(call): call for call, _ in FORMS}.values()), ids=named)
def test_an_unknown_form_field_is_named(server: ServerProcess, call: tuple[str, APIRoute]) -> None:
    for unknown in ({"topk": (None, "3")}, {"image": FILE}, {"Site": (None, "x")}):
        detail = send(server, call, files=unknown)
        assert f"unknown form field '{next(iter(unknown))}'" in detail
        assert "images" in detail
    assert "unknown form field 'topk'" in send(server, call, data={"topk": "3"})
    assert "Content-Type is 'application/json'" in send(server, call, json={"site": "x"})


@pytest.mark.parametrize("call", NO_BODY, ids=named)
def test_a_body_that_nobody_reads_is_refused(server: ServerProcess, call: tuple[str, APIRoute]) -> None:
    assert "takes no body" in send(server, call, data={"camera": "c1"})
    assert "takes no body" in send(server, call, content=iter([b"x"]))  # without a declared length


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ('{"site": "x", "speed": 3}', "speed"),
        ('{"site": "x", "site": "y"}', "'site' stands twice"),
        ('{"site": "x", "seed": true}', "seed"),
        ('{"site": "x", "seed": "7"}', "seed"),
        ('{"site": "x", "seed": 1e999}', "1e999"),
        ('{"site": "x", "seed": NaN}', "NaN"),
        ('{"site": "x", "max_samples": ' + "9" * 400 + "}", "400 digits"),
        ('{"site": "\\ud800"}', "surrogate"),
        ('{"site": "", "seed": 1}', "site is empty"),
        ("[" * 100_000, "nested"),
        (b'{"site": "\xff"}', "UTF-8"),
    ],
)
def test_a_json_body_is_read_exactly(server: ServerProcess, body: Any, word: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{server.url}/adapt", content=body, headers=headers)
    assert response.status_code == 400
    assert word in response.json()["detail"]


@pytest.mark.parametrize(
    "headers", [{"Idempotency-Key": ""}, {"Idempotency-Key": "k" * 257}, [("Idempotency-Key", "a")] * 2]
)
def test_an_idempotency_key_is_one_of_256_characters(
    server: ServerProcess, people: People, headers: Any
) -> None:
    files, data = [("images", ("x.jpg", people[0][0], "image/jpeg"))], {"site": "keys"}
    response = httpx.post(f"{server.url}/gallery", files=files, data=data, headers=headers)
    assert response.status_code == 400
    assert "idempotency key" in response.json()["detail"].lower().replace("-", " ")


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("", "what to erase"),
        ("&filter={}", "what to erase"),
        ('&filter={"metadata":{}}', "what to erase"),
        ("&all=false", "what to erase"),
        ("&identity=", "identity is empty"),
        ('&filter={"identity":""}', "filter.identity is empty"),
        ("&identity=person-0&all=true", "contradicts"),
        ("&identity=person-0&name=x", "'name'"),
        ("&identity=person-0&identity=person-1", "2 times"),
        ('&identity=person-0&filter={"identity":"person-1"}', "contradicts"),
        ('&identity=person-0&filter={"identity":null}', "contradicts"),
        ('&identity=person-0&filter={"identity":{"not":"person-0"}}', "contradicts"),
        ("&captured_after=9.0&captured_before=3.0", "contradicts"),
        ('&captured_after=9.0&filter={"captured_at":{"lt":3}}', "contradicts"),
        ('&captured_after=9.0&filter={"captured_at":[3,null]}', "contradicts"),
    ],
)
def test_an_erasure_that_is_not_clear_erases_nothing(
    client: Client, server: ServerProcess, people: People, query: str, word: str
) -> None:
    site = f"unclear-{uuid.uuid4().hex[:8]}"
    enroll_people(client, site, people[:4])
    response = httpx.delete(f"{server.url}/gallery?site={site}{query}")
    assert response.status_code == 400, response.text
    assert word in response.json()["detail"]
    assert client.site(site).items == 4


def test_an_erasure_takes_what_meets_all_of_it_and_no_more(
    client: Client, server: ServerProcess, people: People
) -> None:
    site, other = (f"erase-{uuid.uuid4().hex[:8]}" for _ in range(2))
    ids, others = enroll_people(client, site, people[:8]), enroll_people(client, other, people[:8])
    assert client.erase_items(site, identity="person-0", camera="cam-0").erased == 2
    assert [item.id for item in client.items(site).items] == ids[2:]
    response = httpx.delete(f"{server.url}/gallery/{others[0]}", params={"site": site})
    assert response.status_code == 404
    assert client.erase(ids[2], site).erased == 1
    assert client.erase_items(site, all=True).erased == 5
    assert client.site(site).items == 0
    assert [item.id for item in client.items(other).items] == others


def test_the_query_camera_has_one_name_and_an_older_one(
    client: Client, server: ServerProcess, people: People
) -> None:
    site = f"camera-{uuid.uuid4().hex[:8]}"
    ids = enroll_people(client, site, people)

    def ask(**fields: str) -> httpx.Response:
        data = {"site": site, "exclude_same_camera": "true", "top_k": "100", **fields}
        files = [] if "item_id" in fields else [("images", ("x.jpg", people[0][0], "image/jpeg"))]
        return httpx.post(f"{server.url}/query", data=data, files=files)

    for fields in (
        {"query_camera": "cam-0"},
        {"camera": "cam-0"},
        {"camera": "cam-0", "query_camera": "cam-0"},
    ):
        assert {match["camera"] for match in ask(**fields).json()["matches"]} == {"cam-1"}
    for fields in (
        {"camera": "cam-0", "query_camera": "cam-1"},
        {"item_id": ids[0], "query_camera": "cam-1"},
    ):
        assert ask(**fields).status_code == 400
        assert "contradict" in ask(**fields).json()["detail"]
    document = httpx.get(f"{server.url}/openapi.json").json()["components"]["schemas"]
    form = next(schema["properties"] for name, schema in document.items() if name.startswith("Body_query"))
    assert form["camera"]["deprecated"]
    assert "deprecated" not in form["query_camera"]
