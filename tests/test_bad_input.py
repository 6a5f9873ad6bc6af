"""Bad input: a 4xx that names what, where and what to do; nothing stored; the next request served; no memory
spike."""

import io
import socket
import struct
import time
import uuid
import zlib
from typing import Any

import httpx
import pytest
from PIL import Image

from benchmarks.serving import ServerProcess
from tests.conftest import enroll_people

People = list[tuple[bytes, str, str]]


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Encoded bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width: int, height: int, rows: bytes) -> bytes:
    """A PNG with this header and these compressed rows, whatever they hold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PLAIN = Image.new("RGB", (64, 128), (200, 30, 90))
OTHER = Image.new("RGB", (64, 128), (9, 200, 90))
JPEG = saved(PLAIN, "JPEG")
NOISY = saved(Image.effect_noise((64, 128), 90).convert("RGB"), "JPEG")
BAD = {
    "empty": (b"", 422),
    "truncated jpeg": (NOISY[: len(NOISY) // 2], 422),
    "truncated png": (saved(PLAIN, "PNG")[:-30], 422),
    "header only": (JPEG[:20], 415),
    "one pixel": (saved(Image.new("RGB", (1, 1)), "PNG"), 422),
    "a line": (saved(Image.new("RGB", (4000, 8)), "PNG"), 422),
    "20000 x 20000": (png_of(20_000, 20_000, zlib.compress(b"\0" * 1000)), 413),
    "png bomb": (png_of(60_000, 60_000, zlib.compress(b"\0" * 50_000_000, 9)), 413),
    "animated gif": (saved(PLAIN, "GIF", save_all=True, append_images=[OTHER]), 415),
    "animated webp": (saved(PLAIN, "WEBP", save_all=True, append_images=[OTHER]), 415),
    "animated png": (saved(PLAIN, "PNG", save_all=True, append_images=[OTHER]), 415),
    "cmyk": (saved(PLAIN.convert("CMYK"), "JPEG"), 415),
    "16 bit": (saved(Image.new("I;16", (64, 128)), "PNG"), 415),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>", 415),
    "text": (b"hello " * 100, 415),
    "zeros": (bytes(10_000), 415),
    "tiff": (saved(PLAIN, "TIFF"), 415),
}


def problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert len(body["detail"]) > 10
    assert "Traceback" not in response.text
    return body


def send(server: ServerProcess, images: list[bytes], path: str = "/gallery", **fields: str) -> httpx.Response:
    """A multipart request."""
    files = [("images", ("crop.jpg", data, "image/jpeg")) for data in images]
    return httpx.post(server.url + path, data={"site": "bad-input", **fields}, files=files, timeout=60)


@pytest.fixture(scope="module", autouse=True)
def known_site(server: ServerProcess, people: People) -> None:
    """Two good items, which must be all there ever is."""
    from resight_client import Client

    with Client(server.url) as client:
        enroll_people(client, "bad-input", people[:2])


def items(server: ServerProcess) -> int:
    """Items of the site."""
    return int(httpx.get(f"{server.url}/sites/bad-input").json()["items"])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_by_its_index_and_nothing_is_stored(
    server: ServerProcess, people: People, name: str
) -> None:
    data, status = BAD[name]
    before = server.resident_bytes()
    body = problem(response := send(server, [people[0][0], people[1][0], data, people[2][0]]))
    assert response.status_code == status, body
    assert body["index"] == 2
    assert "image 2" in body["detail"]
    assert items(server) == 2
    assert problem(send(server, [data], "/query"))["status"] == status
    assert send(server, [people[0][0]], "/query").status_code == 200
    assert server.resident_bytes() - before < 150 * 1024 * 1024


def test_an_enroll_that_is_refused_makes_no_site(server: ServerProcess) -> None:
    name = f"refused-{uuid.uuid4().hex[:6]}"
    assert send(server, [b"no image"], site=name).status_code == 415
    assert httpx.get(f"{server.url}/sites/{name}").status_code == 404


def test_partial_stores_the_good_and_reports_the_bad(server: ServerProcess, people: People) -> None:
    site = f"partial-{uuid.uuid4().hex[:6]}"
    answer = send(server, [people[0][0], b"", people[1][0], BAD["cmyk"][0]], site=site, partial="true").json()
    assert len(answer["items"]) == 2
    assert [(e["index"], e["status"]) for e in answer["errors"]] == [(1, 422), (3, 415)]


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"site": "../etc"}, 400, "site"),
        ({"site": ""}, 400, "site"),
        ({"site": "x" * 65}, 400, "64"),
        ({"captured_at": "yesterday"}, 400, "ISO 8601"),
        ({"captured_at": "nan"}, 400, "captured_at"),
        ({"metadata": "[1]"}, 400, "object"),
        ({"metadata": '{"a": NaN}'}, 400, "NaN"),
        ({"metadata": '{"a": {"b": 1}}'}, 400, "metadata.a"),
        ({"metadata": '{"a": "' + "x" * 20_000 + '"}'}, 400, "larger"),
        ({"camera": "c" * 300}, 400, "300"),
        ({"records": "[]"}, 400, "one object"),
        ({"records": "[" * 5000}, 400, "nested"),
        ({"records": '[{"colour": "red"}]'}, 400, "colour"),
        ({"records": '[{"camera": "a"}]', "camera": "b"}, 400, "not both"),
    ],
)
def test_bad_fields_of_an_enroll_are_named(
    server: ServerProcess, people: People, fields: dict[str, str], status: int, word: str
) -> None:
    body = problem(send(server, [people[0][0]], **fields))
    assert body["status"] == status
    assert word in body["detail"]
    assert items(server) == 2


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"top_k": "0"}, 400, "top_k"),
        ({"top_k": "1000000"}, 400, "top_k"),
        ({"top_k": "many"}, 400, "top_k"),
        ({"threshold": "7"}, 400, "threshold"),
        ({"threshold": "nan"}, 400, "threshold"),
        ({"filter": "{"}, 400, "filter"),
        ({"filter": '{"colour": 1}'}, 400, "colour"),
        ({"item_id": "abc"}, 400, "either"),
        ({"exclude_same_camera": "true"}, 400, "camera"),
        ({"site": "nowhere"}, 404, "nowhere"),
    ],
)
def test_bad_fields_of_a_query_are_named(
    server: ServerProcess, people: People, fields: dict[str, str], status: int, word: str
) -> None:
    body = problem(send(server, [people[0][0]], "/query", **fields))
    assert body["status"] == status
    assert word in body["detail"]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"site": "nowhere"}, 404, "nowhere"),
        ({"site": "bad-input", "tier": 2}, 422, "at least 16"),
        ({"site": "bad-input", "tier": 0}, 422, "at least 16"),
        ({"site": "bad-input"}, 422, "at least 16"),
        ({"site": "bad-input", "tier": "7"}, 400, "auto, none, 0, 1, 2"),
        ({"site": "bad-input", "tier": 7}, 400, "auto, none, 0, 1, 2"),
        ({"site": "bad-input", "tier": True}, 400, "tier"),
        ({"site": "bad-input", "tier": "1+1"}, 400, "tier"),
        ({"site": "bad-input", "tier": "1", "gate": "no"}, 400, "gate"),
        ({"site": "bad-input", "tier": "1", "gate": 0}, 400, "gate"),
        ({"site": "bad-input", "max_samples": 3}, 400, "max_samples"),
        ({"site": "bad-input", "speed": 3}, 400, "speed"),
        ({"site": "bad-input", "cameras": ["door"]}, 400, "cameras"),
        ({"site": "bad-input", "refit": True}, 409, "nothing to refit"),
        ({"site": "bad-input", "refit": True, "tier": "1"}, 400, "leave tier out"),
        ({"site": "bad-input", "refit": "yes"}, 400, "refit"),
        ({}, 400, "site"),
    ],
)
def test_bad_adaptations_are_refused(
    server: ServerProcess, body: dict[str, Any], status: int, word: str
) -> None:
    found = problem(httpx.post(f"{server.url}/adapt", json=body))
    assert found["status"] == status
    assert word in found["detail"]


def test_adapting_an_emptied_site_is_refused(server: ServerProcess, people: People) -> None:
    from resight_client import Client

    with Client(server.url) as client:
        for item in enroll_people(client, "emptied", people[:2]):
            client.erase(item)
    assert problem(httpx.post(f"{server.url}/adapt", json={"site": "emptied"}))["status"] == 422


@pytest.mark.parametrize(
    "path",
    [
        "/gallery/nothing",
        "/gallery/nothing/image",
        "/adapt/nothing",
        "/adapt/nothing/events",
        "/sites/nothing",
        "/x",
    ],
)
def test_unknown_things_are_404(server: ServerProcess, path: str) -> None:
    assert problem(httpx.get(server.url + path))["status"] == 404


def test_a_rollback_without_a_past_is_refused(server: ServerProcess) -> None:
    assert problem(httpx.post(f"{server.url}/sites/bad-input/rollback"))["status"] == 409


def test_a_body_that_is_no_multipart_or_no_json_is_refused(server: ServerProcess) -> None:
    assert problem(httpx.post(f"{server.url}/gallery", content=b"\0" * 100))["status"] == 400
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert problem(httpx.post(f"{server.url}/query", content=b"--y\r\n", headers=broken))["status"] == 400
    assert (
        problem(
            httpx.post(f"{server.url}/adapt", content=b"{", headers={"Content-Type": "application/json"})
        )["status"]
        == 400
    )
    assert problem(httpx.put(f"{server.url}/query"))["status"] == 405


def test_a_bomb_behind_a_small_header_costs_nothing(server: ServerProcess, people: People) -> None:
    """The decoder reads the rows that the header promises and not the 50 MB behind them."""
    before = server.resident_bytes()
    bomb = png_of(64, 128, zlib.compress(b"\0" * 50_000_000, 9))
    assert send(server, [people[0][0], bomb], site="bomb").status_code in (201, 422)
    assert server.resident_bytes() - before < 20 * 1024 * 1024


def test_a_body_declared_too_large_is_refused_before_it_is_sent(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(
            b"POST /gallery HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\nContent-Type: "
            b"multipart/form-data; boundary=x\r\n\r\n"
        )
        answer = b""
        while b"}" not in answer:
            answer += connection.recv(4096)
    assert b" 413 " in answer.splitlines()[0]
    assert b"send fewer images" in answer


def test_a_body_without_a_length_is_cut_off_at_the_limit(server: ServerProcess) -> None:
    before = server.resident_bytes()
    chunks = (b"x" * (1 << 20) for _ in range(300))
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        status = httpx.post(f"{server.url}/gallery", content=chunks, headers=headers, timeout=60).status_code
    except httpx.TransportError:
        status = 413  # the server hung up while we were still sending
    assert status in (400, 413)
    assert server.resident_bytes() - before < 100 * 1024 * 1024
    assert items(server) == 2


def test_a_client_that_hangs_up_halfway_is_no_failure_of_the_server(server: ServerProcess) -> None:
    before = server.log.stat().st_size
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        kind = b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        head = b"POST /gallery HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        connection.sendall(head + kind + b"--x\r\n")
        time.sleep(0.2)
    time.sleep(0.2)
    assert items(server) == 2
    assert b"Traceback" not in server.log.read_bytes()[before:]
