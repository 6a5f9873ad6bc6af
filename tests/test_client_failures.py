"""The Python client: whatever goes wrong is a ResightError, alike in both clients, and never says the key."""

from __future__ import annotations

import asyncio
import inspect
import io
import pickle
import re
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from resight_client import AsyncClient, Client, JobFailed, ResightError, values

URL = "http://127.0.0.1:8000"
KEY = "rk_secret_of_this_test"
Use = Callable[[Any], Any]  # of a client, sync or async


def failures(
    uses: Sequence[Use],
    answer: Callable[[httpx.Request], httpx.Response] | None = None,
    url: str = URL,
) -> list[ResightError]:
    """What each use of a client raises, the same in both, where `answer` is the server; without one nothing
    may be sent."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.method} {request.url} was sent")

    transport = httpx.MockTransport(answer or refuse)

    async def story() -> list[ResightError]:
        async with AsyncClient(url, KEY) as client:
            headers = client.server.headers
            client.http = httpx.AsyncClient(base_url=url, headers=headers, transport=transport)
            return [await raised_async(client, use) for use in uses]

    with Client(url, KEY) as client:
        client.http = httpx.Client(base_url=url, headers=client.server.headers, transport=transport)
        raised = [raised_sync(client, use) for use in uses]
    for one, other in zip(raised, asyncio.run(story()), strict=True):
        assert (one.status, one.code, str(one)) == (other.status, other.code, str(other))
        text = "".join(traceback.format_exception(one) + traceback.format_exception(other))
        assert KEY not in text and "hunter2" not in text
    return raised


def raised_sync(client: Client, use: Use) -> ResightError:
    with pytest.raises(ResightError) as caught:
        used_up(use(client))
    return caught.value


def used_up(used: object) -> None:
    """Goes to the end of what a method gives one by one."""
    if inspect.isgenerator(used):
        list(used)


async def raised_async(client: AsyncClient, use: Use) -> ResightError:
    with pytest.raises(ResightError) as caught:
        await awaited(use, client)
    return caught.value


async def awaited(use: Use, client: AsyncClient) -> None:
    used = use(client)
    if inspect.isasyncgen(used):
        async for _ in used:
            pass
    else:
        await used


PIXELS = np.zeros((32, 16, 3), np.uint8)
NOTHING_SENT: dict[str, tuple[Use, str]] = {
    "missing file": (
        lambda c: c.enroll("s", ["no.jpg"]),
        "no.jpg: No such file or directory; nothing was sent",
    ),
    "folder": (lambda c: c.query("s", Path(".")), r"\.: Is a directory"),
    "zero byte": (lambda c: c.query("s", "a\0b"), "null byte"),
    "open as text": (
        lambda c: c.enroll("s", io.StringIO("a")),
        "image 0 is open as text; open it with mode 'rb'",
    ),
    "closed file": (lambda c: c.enroll("s", closed()), "image 0: I/O operation on closed file"),
    "no image": (lambda c: c.enroll("s", [b"", 7]), "image 1 is int; give a path"),
    "a number": (lambda c: c.query("s", 7), "image 0 is int"),
    "floats": (lambda c: c.enroll("s", PIXELS / 255.0), "array of float64; .* multiplied by 255"),
    "shape": (lambda c: c.enroll("s", [PIXELS.transpose(2, 0, 1)]), r"array \[3, 32, 16\]"),
    "float image": (
        lambda c: c.enroll("s", Image.new("F", (9, 9))),
        "cannot be sent as PNG: .* convert it to RGB",
    ),
    "metadata": (lambda c: c.enroll("s", b"", metadata={"k": {1}}), "metadata is no JSON: it holds set"),
    "records": (lambda c: c.enroll("s", b"", records=[{"metadata": 1j}]), "records is no JSON"),
    "circle": (lambda c: c.items("s", filter=circle()), "filter is no JSON: Circular"),
    "filter": (lambda c: c.query("s", b"", filter={"camera": b"x"}), "filter is no JSON: it holds bytes"),
    "filter of pages": (lambda c: c.iter_items("s", filter={"camera": b"x"}), "filter is no JSON"),
    "seed": (lambda c: c.adapt("s", seed=float("nan")), "nothing was sent"),
    "tier": (lambda c: c.adapt("s", tier={1}), "nothing was sent"),
    "no id": (lambda c: c.item(None), "None is no name; nothing was sent"),
    "empty id": (lambda c: c.image(""), "'' is no name"),
    "id of another thing": (lambda c: c.erase(".."), "'..' is no name"),
    "number as id": (lambda c: c.watch(7), "7 is no name"),
    "surrogate": (lambda c: c.query("\ud800", b""), "no text that UTF-8 can hold"),
    "surrogate in an id": (lambda c: c.job("\ud800"), "no text that UTF-8 can hold"),
    "idempotency key": (lambda c: c.enroll("s", b"", idempotency_key="a\nb"), "no text for a header"),
    "foreign idempotency key": (lambda c: c.enroll("s", b"", idempotency_key="é"), "no text for a header"),
}


def closed() -> io.BytesIO:
    """A file that was closed."""
    file = io.BytesIO(b"")
    file.close()
    return file


def circle() -> dict[str, Any]:
    """A dict in itself."""
    values: dict[str, Any] = {}
    values["values"] = values
    return values


def test_what_cannot_be_sent_is_a_resight_error() -> None:
    uses = [use for use, _ in NOTHING_SENT.values()]
    for error, (kind, (_, sentence)) in zip(failures(uses), NOTHING_SENT.items(), strict=True):
        assert error.status == 0 and re.search(sentence, str(error)), (kind, str(error))


def no_route(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused")


def cut_off(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("peer closed connection")


ANSWERS: dict[str, tuple[Callable[[httpx.Request], httpx.Response], str, str]] = {
    "refused": (no_route, "unreachable", r"no answer from http://127.0.0.1:8000: .* resight serve"),
    "cut off": (cut_off, "unreachable", "peer closed connection"),
    "a page of HTML": (lambda r: httpx.Response(200, text="<html>"), "unexpected", "is it a Resight server"),
    "an error in HTML": (lambda r: httpx.Response(502, text="<html>"), "unexpected", "502 without a reason"),
    "a redirect": (lambda r: httpx.Response(307, headers={"Location": "/x"}), "unexpected", "307"),
    "other JSON": (lambda r: httpx.Response(200, json={"hello": 1}), "unexpected", "cannot read"),
    "an object without keys": (lambda r: httpx.Response(200, json={}), "unexpected", "cannot read"),
    "a list": (lambda r: httpx.Response(200, json=[1]), "unexpected", "cannot read"),
    "null": (lambda r: httpx.Response(200, json=None), "unexpected", "cannot read"),
    "broken gzip": (
        lambda r: httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b"no"),
        "unreachable",
        "no answer",
    ),
    "the key in a sentence": (
        lambda r: httpx.Response(
            401, json={"code": "no", "detail": f"{r.headers['authorization']} is wrong"}
        ),
        "no",
        r"Bearer \*\*\* is wrong",
    ),
}
USES: dict[str, Use] = {
    "enroll": lambda c: c.enroll("s", b"x"),
    "query": lambda c: c.query("s", b"x"),
    "item": lambda c: c.item("i"),
    "image": lambda c: c.image("i"),
    "items": lambda c: c.items("s"),
    "iter_items": lambda c: c.iter_items("s"),
    "erase": lambda c: c.erase("i"),
    "erase_items": lambda c: c.erase_items("s", camera="c"),
    "adapt": lambda c: c.adapt("s"),
    "roll_back": lambda c: c.roll_back("s"),
    "job": lambda c: c.job("j"),
    "cancel": lambda c: c.cancel("j"),
    "wait": lambda c: c.wait("j"),
    "sites": lambda c: c.sites(),
    "site": lambda c: c.site("s"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_whatever_is_answered_is_an_answer_or_a_resight_error(kind: str) -> None:
    answer, code, sentence = ANSWERS[kind]
    for use, error in zip(USES, failures(list(USES.values()), answer), strict=True):
        assert error.code == code and re.search(sentence, str(error)), (use, str(error))


def test_a_stream_that_breaks_is_a_resight_error() -> None:
    job = {"job": "j", "site": "s", "kind": "adapt", "state": "running", "progress": 0, "stage": "x"}
    job |= {"version": None, "report": {}}

    def stream(*lines: str) -> Callable[[httpx.Request], httpx.Response]:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/events"):
                return httpx.Response(200, text="".join(f"{line}\n\n" for line in lines))
            return httpx.Response(200, json=job)

        return answer

    for use, lines, sentence in (
        (lambda c: c.watch("j"), ["data: <html>"], "no JSON"),
        (lambda c: c.watch("j"), ['data: {"hello": 1}'], "cannot read"),
        (lambda c: c.wait("j"), [], "stopped telling about job j, which is running"),
    ):
        assert sentence in str(failures([use], stream(*lines))[0])
    assert failures([lambda c: c.watch("j")], lambda r: httpx.Response(500, text="no"))[0].status == 500


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("127.0.0.1:8000", "'127.0.0.1:8000' is no URL of a server; it is like http"),
        ("", "'' is no URL"),
        ("ftp://a", "is no URL"),
        ("http://", "is no URL"),
        ("http://a:port", "is no URL"),
        ("http://a:70000", "is no URL"),
        ("http://a?key=hunter2", "'http://a' is no URL"),
        ("me:hunter2@a:8000", r"'\*\*\*@a:8000' is no URL"),
    ],
)
def test_a_url_is_looked_at_first(url: str, sentence: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ResightError, match=sentence) as caught:
            kind(url, KEY)
        assert caught.value.code == "no-url" and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["rk_a\nb", "rk_é", "rk a", "rk_\0", "rk_\ud800"])
def test_a_key_that_cannot_be_sent_is_not_told(key: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ResightError, match="the API key holds letters") as caught:
            kind(URL, key)
        assert key not in "".join(traceback.format_exception(caught.value))
    assert Client(URL, f" {KEY}\n").server.headers == {"Authorization": f"Bearer {KEY}"}  # of a file's line


def test_a_password_in_the_url_is_not_told() -> None:
    url = "http://me:hunter2@127.0.0.1:8000"
    for error in failures([lambda c: c.sites()], no_route, url):
        assert "no answer from http://***@127.0.0.1:8000" in str(error)
    assert Client(url).url == "http://***@127.0.0.1:8000"


def test_a_closed_client_says_so() -> None:
    client = Client(URL)
    client.close()
    with pytest.raises(ResightError, match=r"nothing was sent to .* closed") as caught:
        client.sites()
    assert caught.value.code == "closed"


def test_a_broken_proxy_of_the_environment_is_a_resight_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://proxy")
    for kind in (Client, AsyncClient):
        with pytest.raises(ResightError, match="can be made"):
            kind(URL)


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ResightError(409, "busy", "wait", {"index": 1})))
    assert (error.status, error.code, str(error), error.facts) == (409, "busy", "wait", {"index": 1})
    job = values.Job("j", "s", "adapt", "failed", 1.0, "done", None, {"error": "why"})
    failed = pickle.loads(pickle.dumps(JobFailed(job)))
    assert failed.job == job and str(failed) == "job j failed: why"
