"""Sessions of browsers: made from a key, of no use to other pages, gone with the key."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from server.auth import Auth, make_key
from server.errors import Unauthorized
from server.http.app import create_app
from server.service import Service
from server.sessions import CSRF_HEADER, Sessions
from tests.tiny import make_tiny_bundle, open_tiny, picture

SITE = "lobby"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service over the tiny bundle."""
    folder = tmp_path_factory.mktemp("session")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The application of a server that wants keys."""
    return create_app(service, Auth(service.store, required=True))


@pytest.fixture
def sessions(app: FastAPI) -> Sessions:
    """The sessions there are."""
    kept: Sessions = app.state.sessions
    return kept


@pytest.fixture
def browser(app: FastAPI) -> TestClient:
    """A browser that nobody has signed in with."""
    return TestClient(app, base_url="https://site.example")


def sign_in(browser: TestClient, service: Service, scope: str = "write") -> tuple[str, dict[str, str]]:
    """Signs in with a new key; its id, and the header of what changes something."""
    key = make_key(service.store, scope)
    answer = browser.post("/session", json={"key": key.text})
    assert answer.status_code == 201, answer.text
    assert answer.json()["scope"] == scope
    return key.id, {CSRF_HEADER: answer.json()["csrf_token"]}


def enroll(browser: TestClient, headers: dict[str, str] | dict[str, bytes]) -> int:
    """The status of an enroll."""
    answer = browser.post("/gallery", files={"images": picture(1)}, data={"site": SITE}, headers=headers)
    return answer.status_code


def test_no_script_reads_the_cookie_and_no_other_site_sends_it(browser: TestClient, service: Service) -> None:
    key = make_key(service.store, "read").text
    cookie = browser.post("/session", json={"key": key}).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Secure", "Path=/"} <= set(cookie.split("; "))
    assert key not in cookie
    browser.base_url = browser.base_url.copy_with(scheme="http")
    assert "Secure" not in browser.post("/session", json={"key": key}).headers["set-cookie"]


def test_a_session_reads_and_needs_its_token_to_write(browser: TestClient, service: Service) -> None:
    _, headers = sign_in(browser, service)
    assert enroll(browser, headers) == 201
    assert browser.get("/sites").status_code == 200
    for wrong in ({}, {CSRF_HEADER: ""}, {CSRF_HEADER: "0" * 64}, {CSRF_HEADER: "ö".encode()}):
        assert enroll(browser, wrong) == 403
    assert browser.get("/session").json()["csrf_token"] == headers[CSRF_HEADER]


def test_a_token_of_another_session_is_refused(browser: TestClient, service: Service) -> None:
    _, earlier = sign_in(browser, service)
    _, headers = sign_in(browser, service)
    assert enroll(browser, earlier) == 403
    assert enroll(browser, headers) == 201


def test_a_session_may_do_what_its_key_may(browser: TestClient, service: Service) -> None:
    _, headers = sign_in(browser, service, "read")
    answer = browser.delete("/gallery", params={"site": SITE, "all": "true"}, headers=headers)
    assert answer.status_code == 403
    assert "needs a key with scope write" in answer.json()["detail"]
    assert browser.get("/console/keys").status_code == 403


def test_a_session_ends_with_its_key(browser: TestClient, service: Service) -> None:
    key, headers = sign_in(browser, service)
    service.store.keys.revoke(key)
    assert browser.get("/sites").status_code == 401
    assert enroll(browser, headers) == 401
    assert browser.get("/session").json()["scope"] is None


def test_a_session_ends_when_its_owner_signs_out(browser: TestClient, service: Service) -> None:
    sign_in(browser, service)
    stolen = dict(browser.cookies)
    assert browser.delete("/session").status_code == 204
    assert not dict(browser.cookies)
    assert browser.get("/sites", cookies=stolen).status_code == 401


def test_a_session_ends_after_its_time(service: Service) -> None:
    auth = Auth(service.store, required=True)
    key = make_key(service.store, "read").text

    async def begun(lifetime_s: float) -> str:
        sessions = Sessions(auth, lifetime_s)
        token, session = await sessions.begin(key)
        return (await sessions.get(token)).key_id if session else ""

    assert anyio.run(begun, 60.0)
    with pytest.raises(Unauthorized, match="has ended"):
        anyio.run(begun, -1.0)


def test_what_the_server_keeps_of_a_session_opens_nothing(
    browser: TestClient, service: Service, sessions: Sessions
) -> None:
    sign_in(browser, service)
    (token,) = browser.cookies.values()
    assert all(token not in str(kept) for kept in sessions.by_digest.items())
    name = next(iter(browser.cookies))
    browser.cookies.clear()
    for digest in sessions.by_digest:
        assert browser.get("/sites", cookies={name: digest}).status_code == 401


def test_a_key_that_is_not_known_begins_no_session(browser: TestClient) -> None:
    for key in ("rs_wrong", "ö", " "):
        answer = browser.post("/session", json={"key": key})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
    assert browser.get("/session").json() == {
        "required": True,
        "scope": None,
        "key": None,
        "csrf_token": None,
        "ends_at": None,
    }


def test_a_key_in_a_header_counts_before_the_cookie(browser: TestClient, service: Service) -> None:
    sign_in(browser, service, "admin")
    key = make_key(service.store, "read").text
    assert browser.get("/console/keys", headers={"X-API-Key": key}).status_code == 403


def test_where_no_key_is_needed_nobody_signs_in(service: Service) -> None:
    with TestClient(create_app(service, Auth(service.store, required=False))) as browser:
        assert browser.get("/session").json()["required"] is False
        assert browser.post("/session", json={"key": "anything"}).json()["scope"] == "admin"
        assert "set-cookie" not in browser.get("/session").headers
        assert browser.get("/sites").status_code == 200


def test_another_sites_page_changes_nothing_also_with_the_sessions_token(
    browser: TestClient, service: Service
) -> None:
    _, headers = sign_in(browser, service)
    assert enroll(browser, headers | {"Sec-Fetch-Site": "cross-site"}) == 403
    assert enroll(browser, headers | {"Sec-Fetch-Site": "same-origin"}) == 201
    assert enroll(browser, headers | {"Origin": "https://evil.example"}) == 403
    assert enroll(browser, headers | {"Origin": "https://site.example"}) == 201
    signed_in = browser.post("/session", json={"key": "rs_x"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert (signed_in.status_code, signed_in.json()["title"]) == (403, "Page of another site")
    assert browser.delete("/session", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.get("/sites", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
