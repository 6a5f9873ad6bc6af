"""Both ports: TLS, IPv6, what a proxy and a browser need, and the pages of the API."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from resight_client import Client

from benchmarks.serving import ServerProcess
from server.errors import StartError
from server.listening import joined, listen, require_certificate
from server.settings import Settings
from tests.tiny import picture, tiny_server

PAGE = "https://guard.example"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of loopback that signs itself, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    subprocess.run([*words, "-out", cert, "-keyout", key], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that listens everywhere, speaks TLS, and stands behind a proxy at /resight."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = make_certificate(folder)
    server = tiny_server(
        folder, host="::", tls_cert=cert, tls_key=key, auth="on", root_path="/resight/", cors_origins=PAGE
    )
    server.url = f"https://[::1]:{server.port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(cert))
        with server:
            yield server


def key_of(server: ServerProcess) -> str:
    """The first key, as the server has printed it."""
    return next(word for word in server.log.read_text().split() if word.startswith("rs_"))


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_every_address_means_both_families_for_both_protocols_with_tls(
    secure: ServerProcess, host: str
) -> None:
    with Client(f"https://{joined(host, secure.port)}", api_key=key_of(secure)) as client:
        assert client.enroll("door", [picture(1)]).items
    credentials = grpc.ssl_channel_credentials(Path(secure.environment["RESIGHT_TLS_CERT"]).read_bytes())
    with grpc.secure_channel(joined(host, secure.grpc_port), credentials) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_what_is_printed_can_be_opened(secure: ServerProcess) -> None:
    line = next(line for line in secure.log.read_text().splitlines() if line.startswith("HTTP "))
    assert f"HTTP https://[::]:{secure.port}/resight " in line
    assert f"gRPC [::]:{secure.grpc_port} over TLS" in line


def test_plain_http_at_a_port_of_tls_does_no_harm(secure: ServerProcess) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{secure.port}/health")
    assert httpx.get(f"{secure.url}/health").status_code == 200


def test_a_refused_upload_over_tls_is_answered_before_it_has_arrived(secure: ServerProcess) -> None:
    context = ssl.create_default_context(cafile=secure.environment["RESIGHT_TLS_CERT"])
    with (
        socket.create_connection(("127.0.0.1", secure.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as stream,
    ):
        stream.sendall(b"POST /query HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbeginning")
        assert b" 401 " in stream.recv(4096)
        while stream.recv(4096):  # the server ends the connection, without an error in its log
            pass
    assert "Traceback" not in secure.log.read_text()


def test_head_says_whether_the_server_lives_and_is_ready(secure: ServerProcess) -> None:
    for path in ("/health", "/ready"):
        answer = httpx.head(f"{secure.url}{path}")
        assert (answer.status_code, answer.content) == (200, b"")


def test_a_browser_may_call_from_the_named_pages_only(secure: ServerProcess) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    allowed = httpx.options(f"{secure.url}/query", headers={"Origin": PAGE} | asks)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
    other = httpx.options(f"{secure.url}/query", headers={"Origin": "https://evil.example"} | asks)
    assert "access-control-allow-origin" not in other.headers
    refused = httpx.get(f"{secure.url}/sites", headers={"Origin": PAGE})  # a page can read why
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)


@pytest.mark.parametrize("prefix", ["", "/resight"])  # a proxy cuts its path off, or leaves it
def test_the_pages_of_the_api_need_nothing_from_elsewhere(secure: ServerProcess, prefix: str) -> None:
    for page in ("docs", "redoc"):
        text = httpx.get(f"{secure.url}{prefix}/{page}").text
        places = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", text)
        fetched = [place for place in places if "//" in place or place.startswith("/")]
        assert len(fetched) >= 2
        for place in fetched:
            assert place.startswith("/resight/"), place
            path = place.removeprefix("/resight")
            assert httpx.get(f"{secure.url}{prefix}{path}").status_code == 200


def test_the_document_says_how_keys_are_sent(secure: ServerProcess) -> None:
    document = httpx.get(f"{secure.url}/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {(s["type"], s.get("scheme") or s["name"]) for s in schemes.values()} == {
        ("http", "bearer"),
        ("apiKey", "X-API-Key"),
    }
    assert document["paths"]["/query"]["post"]["security"] == [{name: []} for name in schemes]
    assert "security" not in document["paths"]["/health"]["get"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::", "localhost"])
def test_a_host_is_listened_on(host: str) -> None:
    with listen(host, 0) as listener:
        families = ["127.0.0.1"] if host in ("127.0.0.1", "localhost") else ["::1"]
        families += ["127.0.0.1"] if host in ("0.0.0.0", "::") else []
        accepting = threading.Thread(target=lambda: [listener.accept() for _ in families], daemon=True)
        accepting.start()
        for family in families:
            socket.create_connection((family, listener.getsockname()[1]), timeout=5).close()
        accepting.join(5)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "1:2"])
def test_a_host_that_cannot_be_had_is_named(host: str) -> None:
    with pytest.raises(StartError, match=f"on {host} cannot be had"):
        listen(host, 0)


def test_a_certificate_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    locked = tmp_path / "locked.pem"
    words = ["openssl", "pkcs8", "-topk8", "-in", key, "-out", locked, "-passout", "pass:secret"]
    subprocess.run(words, check=True)
    (tmp_path / "empty").touch()

    def check(cert: Path, key: Path) -> None:
        require_certificate(Settings(bundle=tmp_path, tls_cert=cert, tls_key=key))

    check(cert, key)
    for wrong_cert, wrong_key, sentence in (
        (tmp_path / "no", key, "^--tls-cert .*no cannot be read: No such file"),
        (cert, tmp_path, "^--tls-key .* cannot be read: Is a directory"),
        (cert, make_certificate(other)[1], "cannot be used"),
        (cert, locked, "without a passphrase"),
        (tmp_path / "empty", key, "cannot be used"),
        (key, cert, "cannot be used"),
    ):
        with pytest.raises(StartError, match=sentence):
            check(wrong_cert, wrong_key)


def test_a_service_of_kubernetes_is_no_port(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RESIGHT_PORT", "tcp://10.96.0.17:8000")
    monkeypatch.setenv("RESIGHT_GRPC_PORT", "tcp://10.96.0.18:8001")
    settings = Settings(bundle=Path("b.resight"))
    assert (settings.port, settings.grpc_port) == (8000, 8001)
    assert caplog.text.count("what Kubernetes says") == 2
    assert Settings(bundle=Path("b.resight"), port=9000).port == 9000


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("host", "[::1]", "::1"),
        ("root_path", "/a/b/", "/a/b"),
        ("root_path", "/", ""),
        (
            "cors_origins",
            "https://a.example, http://b.example:8080/",
            ("https://a.example", "http://b.example:8080"),
        ),
        ("cors_origins", "*", ("*",)),
        ("cors_origins", "", ()),
    ],
)
def test_a_setting_may_be_written_in_several_ways(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, kept: object
) -> None:
    monkeypatch.setenv(f"RESIGHT_{name.upper()}", value)
    assert getattr(Settings(bundle=Path("b.resight")), name) == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "[]"),
        ("root_path", "a//b"),
        ("root_path", "/a?b"),
        ("cors_origins", "a.example"),
        ("tls_key", "k"),
    ],
)
def test_a_setting_of_the_ports_that_cannot_work_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.model_validate({"bundle": Path("b.resight"), name: value})
