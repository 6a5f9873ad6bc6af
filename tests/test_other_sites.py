"""Which requests are those of another site's page: what browsers say of them, and which pages are let in."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from server.http.other_sites import OtherSites

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def status(headers: dict[str, str], method: str = "POST", origins: tuple[str, ...] = ()) -> int:
    """The status of a request with these headers."""
    route = Route("/", lambda request: PlainTextResponse("done"), methods=METHODS)
    app = OtherSites(Starlette(routes=[route]), origins)
    return TestClient(app).request(method, "/", headers=headers).status_code


@pytest.mark.parametrize(
    ("site", "expected"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_what_a_browser_marks_as_another_sites_changes_nothing(site: str, expected: int) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert status({"Sec-Fetch-Site": site}, method) == expected
    for method in ("GET", "HEAD"):
        assert status({"Sec-Fetch-Site": site}, method) == 200


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://10.0.0.5:8000", "10.0.0.5:8000", 200),
        ("http://Guard.example", "guard.example", 200),
        ("https://guard.example", "guard.example:443", 200),
        ("http://[::1]:8000", "[::1]:8000", 200),
        ("http://evil.example", "10.0.0.5:8000", 403),
        ("http://10.0.0.5:3000", "10.0.0.5:8000", 403),
        ("http://10.0.0.5:8000.evil.example", "10.0.0.5:8000", 403),
        ("http://evil.example/10.0.0.5:8000", "10.0.0.5:8000", 403),
        ("null", "10.0.0.5:8000", 403),
        ("", "10.0.0.5:8000", 403),
        ("http://[bad", "10.0.0.5:8000", 403),
        ("http://10.0.0.5:8000", "", 403),
    ],
)
def test_where_a_browser_says_only_the_origin_it_must_be_the_host(
    origin: str, host: str, expected: int
) -> None:
    assert status({"Origin": origin, "Host": host}) == expected


def test_the_browsers_mark_counts_more_than_a_host_that_a_proxy_has_changed() -> None:
    proxied = {"Origin": "https://guard.example", "Host": "127.0.0.1:8000"}
    assert status(proxied | {"Sec-Fetch-Site": "same-origin"}) == 200
    assert status(proxied) == 403


def test_programs_say_neither_and_are_let_through() -> None:
    assert status({}) == 200


def test_a_page_that_was_named_may_call_and_no_other() -> None:
    named = ("https://guard.example",)
    page = {"Sec-Fetch-Site": "cross-site", "Origin": "https://guard.example"}
    assert status(page, origins=named) == 200
    assert status(page | {"Origin": "https://evil.example"}, origins=named) == 403
    assert status({"Sec-Fetch-Site": "cross-site"}, origins=named) == 403
    assert status(page, origins=("*",)) == 200
