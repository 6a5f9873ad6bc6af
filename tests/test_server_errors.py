"""A failure ends its request, and nothing else."""

import asyncio
import http.client
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from benchmarks.serving import ServerProcess, free_ports
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.http.outcomes import Outcomes
from server.http.serving import HttpServer
from server.settings import Settings
from server.telemetry import Telemetry
from tests.tiny import picture, tiny_server

JOB = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a job whose report was overwritten with something else."""
    folder = tmp_path_factory.mktemp("broken")
    with tiny_server(folder, auth="off") as running:
        with sqlite3.connect(folder / "data" / "gallery.db") as db:
            db.execute(
                "INSERT INTO jobs (id, site, kind, request, state, progress, stage, report, created_at) "
                "VALUES (?, 'lobby', 'adapt', '{}', 'succeeded', 1, 'done', '[17]', 0)",
                [JOB],
            )
        yield running


def failures(server: ServerProcess) -> int:
    """How many failures the log has."""
    return server.log.read_text().count("Traceback (most recent call last):\n  File")


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, str, bytes]:
    """Status, media type and body of an answer on a connection that is kept."""
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.headers["content-type"], response.read()


def test_requests_after_a_failure_are_answered_on_the_same_connection(broken: ServerProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", broken.port, timeout=20)
    connection.connect()
    port = connection.sock.getsockname()[1]
    for _ in range(10):
        status, kind, body = ask(connection, f"/adapt/{JOB}")
        assert (status, kind) == (500, "application/problem+json")
        assert b"its log has the details" in body
        assert ask(connection, "/health")[0] == 200
        assert connection.sock.getsockname()[1] == port
    connection.close()


def test_a_pipelined_request_survives_the_failure_before_it(broken: ServerProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", broken.port, timeout=20)
    connection.connect()
    connection.sock.sendall(
        b"GET /adapt/%s HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n" % JOB.encode()
    )
    received = b""
    while b"alive" not in received:
        received += connection.sock.recv(65536) or pytest.fail(f"closed after {received!r}")
    connection.close()


def test_a_failure_is_logged_and_counted_once(broken: ServerProcess) -> None:
    def counted() -> str:
        text = httpx.get(f"{broken.url}/metrics").text
        lines = [line for line in text.splitlines() if "requests_total" in line and "events" in line]
        return lines[0] if lines else ""

    before = failures(broken)
    answer = httpx.get(f"{broken.url}/adapt/{JOB}/events")  # it fails before the stream begins
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert counted() == 'resight_requests_total{call="GET /adapt/{job}/events",outcome="500"} 1.0'
    log = broken.log.read_text()
    assert log.count(f"'/adapt/{JOB}/events' failed") == 1
    assert "Exception in ASGI application" not in log
    assert failures(broken) > before


def test_a_failed_grpc_call_is_internal_and_the_channel_stays(broken: ServerProcess) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{broken.grpc_port}") as channel:
        adaptation = rpc.AdaptationStub(channel)
        for _ in range(3):
            for call in (adaptation.GetJob, lambda job: list(adaptation.WatchJob(job))):
                with pytest.raises(grpc.RpcError) as caught:
                    call(pb.JobRequest(job=JOB))
                assert caught.value.code() == grpc.StatusCode.INTERNAL
                assert "its log has the details" in caught.value.details()
                assert dict(caught.value.trailing_metadata())["resight-code"] == "internal"
            with pytest.raises(grpc.RpcError) as caught:
                adaptation.GetJob(pb.JobRequest(job="unknown"))
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_key_that_cannot_be_checked_opens_nothing(tmp_path: Path) -> None:
    with tiny_server(tmp_path, auth="on") as server:
        key = next(word for word in server.log.read_text().split() if word.startswith("rs_"))
        with sqlite3.connect(tmp_path / "data" / "gallery.db") as db:
            db.execute("UPDATE keys SET scopes = 'no such scope'")
        assert httpx.get(f"{server.url}/sites", headers={"X-API-Key": key}).status_code == 500
        assert httpx.get(f"{server.url}/sites").status_code == 401
        assert httpx.get(f"{server.url}/health").status_code == 200
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                rpc.AdaptationStub(channel).GetJob(pb.JobRequest(job="a"), metadata=[("x-api-key", key)])
            assert caught.value.code() == grpc.StatusCode.INTERNAL


def test_a_method_that_is_not_allowed_says_which_is(server: ServerProcess) -> None:
    answer = httpx.put(f"{server.url}/query")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_the_document_says_what_errors_are_sent(server: ServerProcess) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            errors = {status: r for status, r in call["responses"].items() if status[0] not in "23"}
            assert "default" in errors, (method, path)
            for response in errors.values():
                assert list(response["content"]) == ["application/problem+json"], (method, path)
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ProblemModel"}
    assert "detail" in document["components"]["schemas"]["ProblemModel"]["properties"]


class Served:
    """The real HTTP server and the real outcomes around an application, in a thread."""

    def __init__(self, application: Any) -> None:
        self.telemetry = Telemetry()
        (self.port,) = free_ports(1)
        settings = Settings(bundle=Path("none"), port=self.port, drain_s=1)
        self.http = HttpServer(Outcomes(application, self.telemetry), settings, self.telemetry)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.http.serve()))

    def __enter__(self) -> "Served":
        self.thread.start()
        while not self.http.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.should_exit = True
        self.thread.join()

    def outcomes(self) -> dict[str, float]:
        """Outcome -> how often."""
        lines = [line for line in self.telemetry.text().decode().splitlines() if "requests_total{" in line]
        return {line.split('outcome="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}

    def wait_for(self, outcome: str) -> None:
        """Waits until an outcome was counted."""
        until = time.monotonic() + 10
        while outcome not in self.outcomes():
            assert time.monotonic() < until, self.outcomes()
            time.sleep(0.02)


async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
    """Begins an answer and fails."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ValueError("in the middle of an answer")


async def never_answers(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for its client to leave."""
    if scope["type"] != "http":
        return
    while (await receive())["type"] != "http.disconnect":
        pass


async def takes_long(scope: Scope, receive: Receive, send: Send) -> None:
    """Does not end by itself."""
    if scope["type"] == "http":
        await asyncio.sleep(60)


def test_an_answer_that_breaks_off_closes_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    with Served(breaks_off) as served:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://127.0.0.1:{served.port}/a")
        served.wait_for("500")
        assert served.outcomes() == {"500": 1.0}
    assert sum(1 for record in caplog.records if record.exc_info) == 1  # uvicorn does not log it once more


def test_a_client_that_left_is_counted_as_such(caplog: pytest.LogCaptureFixture) -> None:
    with Served(never_answers) as served:
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"http://127.0.0.1:{served.port}/a", timeout=0.3)
        served.wait_for("disconnected")
    assert not [record for record in caplog.records if record.exc_info]


def test_a_request_that_the_stop_cancelled_is_counted_as_such() -> None:
    with Served(takes_long) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port)
        connection.request("GET", "/a")
        time.sleep(0.3)
    served.wait_for("cancelled")
    connection.close()


def test_a_page_of_another_site_changes_nothing_at_a_server_without_keys(broken: ServerProcess) -> None:
    def enroll(**headers: str) -> httpx.Response:
        return httpx.post(
            f"{broken.url}/gallery",
            files={"images": picture(1)},
            data={"site": "yard"},
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    for marked in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://evil.example"}):
        answer = enroll(**marked)
        assert (answer.status_code, answer.json()["code"]) == (403, "other-site")
        assert "of another site may not change anything" in answer.json()["detail"]
        assert "--cors-origins" in answer.json()["detail"]
    assert enroll().status_code == 201
    assert enroll(Sec_Fetch_Site="same-origin", Origin=broken.url).status_code == 201
    assert enroll(Origin=broken.url).status_code == 201
