"""Nobody without a key, and nobody slow, keeps the server from its callers. Over HTTP."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.serving import ServerProcess
from tests.tiny import picture, tiny_server

People = list[tuple[bytes, str, str]]
MIB = 1 << 20
OPEN = {"/health", "/ready"}


def key_of(server: ServerProcess) -> str:
    """The admin key that the server made when it started."""
    return next(word for word in server.log.read_text().split() if word.startswith("rs_"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that needs keys, for small bodies and few connections, with long deadlines."""
    limits = {"max_request_bytes": 4 * MIB, "max_inflight_bytes": 6 * MIB}
    limits |= {"max_connections": 16, "max_connections_per_peer": 8}
    with tiny_server(tmp_path_factory.mktemp("small"), auth="on", **limits) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that needs keys, with short deadlines."""
    limits = {"header_timeout_s": 2, "pace_window_s": 1, "body_timeout_s": 3, "keep_alive_s": 1}
    with tiny_server(tmp_path_factory.mktemp("strict"), auth="on", **limits) as running:
        yield running


class Wire:
    """A connection on which every byte is ours."""

    def __init__(self, server: ServerProcess, source: str = "127.0.0.1", receive_buffer: int = 0) -> None:
        self.received = b""
        self.socket = socket.socket()
        self.socket.settimeout(15)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", server.port))

    def send(self, data: bytes) -> None:
        """Sends as much as the server takes."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def head(self, method: str, path: str, **headers: object) -> None:
        """Sends a request's line and headers."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def answer(self) -> bytes:
        """The next whole answer; empty where the connection was closed instead."""
        while b"\r\n\r\n" not in self.received:
            if not self._receive():
                return b""
        head, _, rest = self.received.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().splitlines() if line.startswith(b"content-length:")]
        length = int(lengths[0].split()[1]) if lengths else 0
        while len(rest) < length and self._receive():
            rest = self.received.partition(b"\r\n\r\n")[2]
        self.received = rest[length:]
        return head + b"\r\n\r\n" + rest[:length]

    def everything(self) -> bytes:
        """All bytes until the server closes the connection."""
        while self._receive():
            pass
        return self.received

    def status(self) -> int:
        """The status of the next answer; 0 where the connection was closed instead."""
        words = self.answer().split()
        return int(words[1]) if words else 0

    def _receive(self) -> bool:
        """Takes what has come; False at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self.received += data
        return bool(data)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def upload(server: ServerProcess, wire: Wire, length: int) -> None:
    """Begins an enroll whose body has `length` bytes, with a key."""
    kind = "multipart/form-data; boundary=x"
    wire.head("POST", "/gallery", X_API_Key=key_of(server), Content_Type=kind, Content_Length=length)


def part_of(size: int) -> bytes:
    """The beginning of a body with one image of `size` bytes."""
    start = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    return start + bytes(size)


def enroll(server: ServerProcess, people: People, images: int = 1, **fields: str) -> httpx.Response:
    """An enroll on a new connection."""
    files = [("images", ("crop.jpg", people[0][0], "image/jpeg"))] * images
    key = {"X-API-Key": key_of(server)}
    data = {"site": "lobby", **fields}
    return httpx.post(f"{server.url}/gallery", data=data, files=files, headers=key, timeout=30)


def gauge(server: ServerProcess, name: str) -> float:
    """A value of /metrics."""
    text = httpx.get(f"{server.url}/metrics", headers={"X-API-Key": key_of(server)}).text
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)


def wait_for(server: ServerProcess, name: str, value: float) -> None:
    """Waits until a gauge has a value."""
    until = time.monotonic() + 10
    while gauge(server, name) != value:
        assert time.monotonic() < until, f"{name} is {gauge(server, name)} and not {value}"
        time.sleep(0.05)


INFLIGHT = 'resight_inflight_bytes{protocol="http"}'
DISCONNECTED = 'resight_requests_total{call="POST /gallery",outcome="disconnected"}'


def test_promised_bytes_reserve_nothing(small: ServerProcess, people: People) -> None:
    with Wire(small) as one, Wire(small) as two, Wire(small) as three:
        for wire in (one, two, three):
            upload(small, wire, 4 * MIB)
        assert enroll(small, people).status_code == 201
        assert gauge(small, INFLIGHT) == 0


def test_bytes_that_arrived_are_bounded_over_all_uploads(small: ServerProcess, people: People) -> None:
    with Wire(small) as one, Wire(small) as two:
        for wire in (one, two):
            upload(small, wire, 4 * MIB)
            wire.send(part_of(5 * MIB // 2))
        wait_for(small, INFLIGHT, 2 * len(part_of(5 * MIB // 2)))
        with Wire(small) as third:
            upload(small, third, 3 * MIB)
            third.send(part_of(2 * MIB))
            refused = third.everything()
        assert b" 503 " in refused.splitlines()[0]
        assert b"retry-after: 1" in refused.lower()
        assert b"application/problem+json" in refused
        assert enroll(small, people).status_code == 201
    wait_for(small, INFLIGHT, 0)


def test_the_count_of_bytes_returns_to_zero_however_a_request_ends(
    small: ServerProcess, people: People
) -> None:
    wait_for(small, INFLIGHT, 0)  # earlier tests hung up too
    disconnected = gauge(small, DISCONNECTED)
    assert enroll(small, people).status_code == 201
    assert enroll(small, people, site="../etc").status_code == 400
    assert enroll(small, people, metadata="{").status_code == 400
    with Wire(small) as cut_short:
        upload(small, cut_short, 3 * MIB)
        cut_short.send(part_of(2 * MIB))
        wait_for(small, INFLIGHT, len(part_of(2 * MIB)))
    wait_for(small, DISCONNECTED, disconnected + 1)
    with Wire(small) as too_long:
        kind = "multipart/form-data; boundary=x"
        too_long.head(
            "POST", "/gallery", X_API_Key=key_of(small), Content_Type=kind, Transfer_Encoding="chunked"
        )
        body = part_of(5 * MIB)
        too_long.send(b"%x\r\n%s\r\n" % (len(body), body))
        assert too_long.status() == 413
    with Wire(small) as malformed:
        upload(small, malformed, 1000)
        malformed.send(b"no multipart at all")
        assert malformed.status() == 400
    wait_for(small, INFLIGHT, 0)


def test_no_uploaded_file_stays_open(small: ServerProcess, people: People) -> None:
    def deleted_files() -> int:
        assert small.process is not None
        folder = Path(f"/proc/{small.process.pid}/fd")
        return sum(
            1 for entry in folder.iterdir() if entry.is_symlink() and "(deleted)" in os.readlink(entry)
        )

    before = deleted_files()
    with Wire(small) as cut_short:
        upload(small, cut_short, 4 * MIB)
        cut_short.send(part_of(3 * MIB))
        wait_for(small, INFLIGHT, len(part_of(3 * MIB)))
    files = [("images", ("crop.jpg", bytes(2 * MIB), "image/jpeg"))]
    key = {"X-API-Key": key_of(small)}
    for fields, status in (({"site": "a"}, 415), ({"site": "a", "unknown": "b"}, 400)):
        answer = httpx.post(f"{small.url}/gallery", data=fields, files=files, headers=key)
        assert answer.status_code == status
    wait_for(small, INFLIGHT, 0)
    assert deleted_files() == before


def test_every_route_checks_the_key_before_the_body(small: ServerProcess) -> None:
    paths = httpx.get(f"{small.url}/openapi.json").json()["paths"]
    calls = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(calls) > 10
    for method, path in calls:
        with Wire(small) as wire:
            wire.head(method, path, Content_Length=4 * MIB, Expect="100-continue")
            answer = wire.answer()
        # what is open takes no body, and says so without having read one
        assert int(answer.split()[1]) == (400 if path in OPEN else 401), (method, path, answer)


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json", "/"])
def test_what_needs_no_key_is_open(small: ServerProcess, path: str) -> None:
    assert httpx.get(small.url + path).status_code in (200, 307)


@pytest.mark.parametrize("path", ["/nowhere", "/gallery/a/b/c", "/docs"])
def test_no_body_is_read_where_there_is_no_route_for_it(small: ServerProcess, path: str) -> None:
    with Wire(small) as wire:
        wire.head("POST", path, Content_Length=4 * MIB, Expect="100-continue")
        assert wire.status() in (404, 405)


def test_a_websocket_opens_nothing(small: ServerProcess) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": 13}
    with Wire(small) as wire:
        wire.head("GET", "/sites", Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", **upgrade)
        assert wire.status() == 401
    with Wire(small) as wire:  # its body would be dropped, and what follows taken for another request
        wire.head("POST", "/query", Content_Length=20, X_API_Key=key_of(small), **upgrade)
        wire.send(b"GET /health HTTP/1.1\r\n\r\n")
        assert wire.everything().count(b"HTTP/1.1 ") == 2  # the status line, and the sentence


def test_a_keyless_upload_is_answered_and_not_kept(small: ServerProcess) -> None:
    before = small.resident_bytes()
    body = (bytes(MIB) for _ in range(100))
    assert httpx.post(f"{small.url}/gallery", content=body, timeout=30).status_code == 401
    assert small.resident_bytes() - before < 30 * MIB


def test_a_refused_upload_is_not_reset_while_it_is_being_sent(small: ServerProcess) -> None:
    """A reset could reach the client before the answer does."""
    with Wire(small) as wire:
        wire.head("POST", "/gallery", Content_Length=4 * MIB)
        assert wire.status() == 401
        for _ in range(3):
            wire.socket.sendall(bytes(1000))
            time.sleep(0.05)


def test_the_connections_of_one_address_are_limited(small: ServerProcess) -> None:
    key = key_of(small)
    wires = []
    for _ in range(8):
        wires.append(Wire(small))
        wires[-1].head("GET", "/sites", X_API_Key=key)
        assert wires[-1].status() == 200
    with Wire(small) as ninth, Wire(small, source="127.0.0.2") as elsewhere:
        ninth.head("GET", "/health")
        assert ninth.status() == 503
        elsewhere.head("GET", "/health")
        assert elsewhere.status() == 200
    wires[0].head("GET", "/sites", X_API_Key=key)
    assert wires[0].status() == 200
    for wire in wires:
        wire.socket.close()


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nX: ", b"GET /", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200]
)
def test_headers_without_an_end_are_refused(small: ServerProcess, head: bytes) -> None:
    before = small.resident_bytes()
    with Wire(small) as wire:
        wire.send(head)
        wire.send(b"a" * (20 * MIB))
        assert wire.status() == 431
    assert small.resident_bytes() - before < 10 * MIB


def test_headers_of_just_the_limit_are_accepted_however_they_come(small: ServerProcess) -> None:
    counted = len("/health") + len("Host: x\r\n") + len("X-Long: \r\n")
    for size, status in ((16 * 1024 - counted, 200), (16 * 1024 - counted + 1, 431)):
        for first in (0, 100):  # all at once, and most of it behind the first packet
            head = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * size + b"\r\n\r\n"
            with Wire(small) as wire:
                wire.send(head[:first])
                time.sleep(0.1 if first else 0)
                wire.send(head[first:])
                assert wire.status() == status


def test_headers_that_come_at_once_are_bounded_too(small: ServerProcess) -> None:
    with Wire(small) as wire:
        wire.head("GET", "/health", X_Long="a" * 20_000)
        assert wire.status() == 431


def test_the_framing_of_a_chunked_body_is_bounded(small: ServerProcess) -> None:
    for endless in (b"1;a=" + b"b" * MIB, b"1\r\na\r\n0\r\n" + b"a: b\r\n" * MIB):
        with Wire(small) as wire:
            kind = "multipart/form-data; boundary=x"
            wire.head(
                "POST", "/query", X_API_Key=key_of(small), Content_Type=kind, Transfer_Encoding="chunked"
            )
            wire.send(endless)
            assert b" 431 " in wire.everything().splitlines()[0]
    wait_for(small, INFLIGHT, 0)


def test_requests_that_wait_on_one_connection_are_bounded(small: ServerProcess) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with Wire(small) as wire:
        wire.send(10 * request)
        assert [wire.status() for _ in range(10)] == 10 * [200]
    with Wire(small) as wire:
        wire.send(5000 * request)
        assert wire.everything().count(b"alive") < 5000


def test_an_idle_connection_is_closed(strict: ServerProcess) -> None:
    with Wire(strict) as fresh:
        assert fresh.everything() == b""
    with Wire(strict) as kept:
        kept.head("GET", "/health")
        assert kept.everything().count(b"alive") == 1


@pytest.mark.parametrize("drip", [b"a: b\r\n", b"\r\n"])
def test_headers_have_to_end_in_time(strict: ServerProcess, drip: bytes) -> None:
    with Wire(strict) as wire:
        wire.send(b"GET /health HTTP/1.1\r\n" if drip != b"\r\n" else drip)
        wire.socket.settimeout(0.2)
        until = time.monotonic() + 15
        while time.monotonic() < until:
            wire.send(drip)
            try:
                answer = wire.answer()
            except TimeoutError:
                continue
            assert answer == b"" or b" 408 " in answer.splitlines()[0]
            return
    pytest.fail("the connection is still open")


@pytest.mark.parametrize("dripping", [True, False])
def test_a_body_has_to_come_at_a_rate(strict: ServerProcess, dripping: bool) -> None:
    with Wire(strict) as wire:
        upload(strict, wire, 10_000)
        wire.send(part_of(0))
        wire.socket.settimeout(0.2)
        until = time.monotonic() + 15
        while time.monotonic() < until:
            if dripping:
                wire.send(b"a")
            try:
                answer = wire.answer()
            except TimeoutError:
                continue
            assert b" 408 " in answer.splitlines()[0]
            assert b"came within 1 s" in answer
            return
    pytest.fail("the body is still waited for")


def test_a_body_has_to_end_in_time(strict: ServerProcess) -> None:
    with Wire(strict) as wire:
        upload(strict, wire, 100 * MIB)
        wire.send(part_of(0))
        wire.socket.settimeout(0.05)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            wire.send(bytes(4096))
            try:
                answer = wire.answer()
            except TimeoutError:
                continue
            assert b" 408 " in answer.splitlines()[0]
            assert b"not complete after 3 s" in answer
            return
    pytest.fail("the body is still waited for")


def test_an_answer_that_nobody_reads_is_not_kept(strict: ServerProcess, people: People) -> None:
    big = '{"note": "' + "x" * 16_000 + '"}'
    assert enroll(strict, people, images=64, metadata=big).status_code == 201
    with Wire(strict, receive_buffer=4096) as wire:
        for _ in range(10):  # more than ten megabytes
            wire.head("GET", "/gallery?site=lobby&limit=64", X_API_Key=key_of(strict))
        # only the connection that asks for the gauge is left
        wait_for(strict, 'resight_http_connections{kind="known"}', 1)
        received = wire.everything()
    assert received.count(b"HTTP/1.1 200 OK") < 10


def test_a_flood_of_strangers_leaves_known_clients_and_health_alone(
    small: ServerProcess, people: People
) -> None:
    key = key_of(small)
    with Wire(small) as known:
        known.head("GET", "/sites", X_API_Key=key)
        assert known.status() == 200
        strangers = [Wire(small, source=f"127.0.1.{i % 10 + 1}") for i in range(50)]
        known.head("GET", "/sites", X_API_Key=key)
        assert known.status() == 200
        assert gauge(small, 'resight_http_connections{kind="stranger"}') < 16
        assert httpx.get(f"{small.url}/health").status_code == 200
        assert enroll(small, people).status_code == 201
        for stranger in strangers:
            stranger.socket.close()


def test_known_clients_leave_room_for_new_ones(small: ServerProcess) -> None:
    key, wires = key_of(small), []
    for i in range(20):
        wires.append(Wire(small, source=f"127.0.2.{i + 1}"))
        wires[-1].head("GET", "/sites", X_API_Key=key)
        assert wires[-1].status() == 200
    assert gauge(small, 'resight_http_connections{kind="known"}') <= 12
    assert httpx.get(f"{small.url}/health").status_code == 200
    for wire in wires:
        wire.socket.close()


def test_a_request_takes_as_many_images_and_as_long_records_as_the_settings_say(
    small: ServerProcess,
) -> None:
    """More than the form parser takes by itself: a thousand files, a mebibyte of text."""
    key = {"X-API-Key": key_of(small)}
    records = [{"metadata": {"note": "x" * 1150}}] * 1000
    files = [("images", ("x.png", picture(0), "image/png"))] * 1000
    form = {"site": "large", "records": json.dumps(records)}
    assert len(form["records"]) > MIB
    assert httpx.post(f"{small.url}/gallery", data=form, files=files, headers=key).status_code == 201
    for more, sentence in ((1, "1001 images in one request"), (2, "more than 1000 images in one request")):
        refused = httpx.post(
            f"{small.url}/gallery", data={"site": "large"}, files=files + files[:more], headers=key
        )
        assert refused.status_code == 413 and sentence in refused.text, refused.text
