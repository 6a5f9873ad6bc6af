"""gRPC clients that do not read, or come in numbers from one address, keep nobody else out."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from resight_client import Client

from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.errors import Overloaded
from server.grpc.guard import _Call
from server.grpc.open_calls import OpenCalls
from server.grpc.places import Places, peer_of
from server.inflight import Inflight
from server.settings import Settings
from tests.http2 import HEADERS, BareClient, status_of
from tests.tiny import make_tiny_bundle, picture

ENROLL = "/resight.v1.Gallery/Enroll"
LIST = "/resight.v1.Gallery/List"
IMAGE = "/resight.v1.Gallery/GetImage"
WATCH = "/grpc.health.v1.Health/Watch"
SITE = pb.ListRequest(site="lobby").SerializeToString()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with three places for calls, two of which one address may take."""
    folder = tmp_path_factory.mktemp("unread")
    bundle = make_tiny_bundle(folder)
    limits = {"max_grpc_calls": 3, "max_grpc_calls_per_peer": 2, "pace_window_s": 3, "header_timeout_s": 1}
    with (
        ServerProcess(bundle.path, folder / "data", engine="onnxruntime", **limits) as running,
        Client(running.url) as client,
    ):
        client.enroll("lobby", [picture(0)])
        yield running


def begun(client: BareClient, method: str, message: bytes) -> None:
    """Sends a call and waits until the server has begun to answer it, and has not refused it."""
    stream = client.call(method, message)
    while True:
        kind, of, payload = client.frame()
        if (kind, of) == (HEADERS, stream):
            assert status_of(payload) is None
            return


@pytest.mark.parametrize("method", [LIST, IMAGE])
def test_an_answer_that_nobody_reads_frees_its_place(server: ServerProcess, method: str) -> None:
    message = SITE
    if method == IMAGE:
        with Client(server.url) as client:
            message = pb.GetImageRequest(item_id=client.items("lobby").items[0].id).SerializeToString()
    with (
        BareClient(server.grpc_port, window=0) as silent,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        gallery = rpc.GalleryStub(channel)
        for _ in range(2):
            begun(silent, method, message)
        with pytest.raises(grpc.RpcError, match=r"2 gRPC calls of ipv4:127\.0\.0\.1 are running") as caught:
            gallery.List(pb.ListRequest(site="lobby"), timeout=20)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        deadline = time.monotonic() + 10
        while True:
            try:
                assert len(gallery.List(pb.ListRequest(site="lobby"), timeout=20).items) == 1
                break
            except grpc.RpcError:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def test_one_address_leaves_places_to_others(server: ServerProcess) -> None:
    with (
        BareClient(server.grpc_port, window=0) as silent,
        BareClient(server.grpc_port) as same,
        BareClient(server.grpc_port, address="127.0.0.2") as other,
    ):
        for _ in range(2):
            begun(silent, LIST, SITE)
        assert same.refusal(same.call(LIST, SITE)) == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert pb.ListResponse.FromString(other.answer(other.call(LIST, SITE))[5:]).items


def test_a_watcher_that_does_not_read_delays_no_other(server: ServerProcess) -> None:
    with (
        BareClient(server.grpc_port, window=0) as silent,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        begun(silent, WATCH, b"")
        stub = health_pb2_grpc.HealthStub(channel)
        watcher = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)
        began = time.monotonic()
        assert next(watcher).status == health_pb2.HealthCheckResponse.SERVING
        assert time.monotonic() - began < 0.9  # header_timeout_s, when the silent one is given up
        watcher.cancel()


def test_watchers_do_not_delay_the_end(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path)
    with (
        ServerProcess(bundle.path, tmp_path / "data", engine="onnxruntime", drain_s=25) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        watcher = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        next(watcher)
        assert server.process is not None
        server.process.terminate()
        assert server.process.wait(20) == 0


def test_an_old_connection_is_closed_with_what_nobody_read(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path)
    options = {"engine": "onnxruntime", "grpc_connection_age_s": 1}
    with (
        ServerProcess(bundle.path, tmp_path / "data", **options) as server,
        BareClient(server.grpc_port, window=0) as silent,
    ):
        begun(silent, WATCH, b"")
        began = time.monotonic()
        silent.read_to_the_end()
        assert 1 < time.monotonic() - began < 6


def test_places_are_counted_by_address() -> None:
    places = Places(limit=3, per_peer=2)
    assert peer_of("ipv4:10.0.0.1:4242") == "ipv4:10.0.0.1"
    with places.place("a"), places.place("a"):
        with pytest.raises(Overloaded, match="2 gRPC calls of a are running"), places.place("a"):
            pass
        with (
            places.place("b"),
            pytest.raises(Overloaded, match="3 gRPC calls are running"),
            places.place("c"),
        ):
            pass
    assert not places.by_peer
    with Places(limit=3, per_peer=0).place("a"):
        pass


def test_a_large_answer_that_nobody_reads_is_given_up_in_the_time_of_a_body(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However many bytes it has: at the lowest rate this one would be let wait for 80 minutes."""

    async def unread(message: object) -> None:
        await asyncio.Event().wait()

    async def story() -> None:
        guard: Any = SimpleNamespace(settings=Settings(bundle=tmp_path, body_timeout_s=0.1))
        call = _Call(guard, LIST, None, "read")
        call.peer = "ipv4:10.0.0.1"
        answer = pb.ListResponse(cursor="x" * 5_000_000)
        with pytest.raises(asyncio.CancelledError, match="nobody read"):
            await asyncio.wait_for(call._write(SimpleNamespace(write=unread), answer), 3)

    asyncio.run(story())
    assert f"{LIST} of ipv4:10.0.0.1 was given up: 5000005 bytes were not read within 0.1 s" in caplog.text


def test_an_answer_that_waits_to_be_read_does_not_count_the_bytes_of_its_request(tmp_path: Path) -> None:
    """The request is gone by then, and others would be refused for as long as its client does not read."""
    counted = []
    inflight = Inflight(limit=1000)
    request = pb.EnrollRequest(site="x" * 500).SerializeToString()

    async def enroll(message: pb.EnrollRequest, context: object) -> pb.EnrollResponse:
        counted.append(inflight.bytes)
        return pb.EnrollResponse()

    async def read() -> bytes:
        return request

    async def write(message: object) -> None:
        counted.append(inflight.bytes)

    async def story() -> None:
        guard: Any = SimpleNamespace(settings=Settings(bundle=tmp_path))
        handler = grpc.unary_unary_rpc_method_handler(enroll, pb.EnrollRequest.FromString)
        call = _Call(guard, ENROLL, handler, "enroll")
        with inflight.share() as share:
            await call._answer(SimpleNamespace(read=read, write=write), share, call._in_time)

    asyncio.run(story())
    assert counted == [len(request), 0]


def test_who_has_too_many_calls_without_a_key_hears_both_limits() -> None:
    async def story() -> None:
        calls, never = OpenCalls(limit=4), asyncio.Event()
        running = []
        for _ in range(4):
            running.append(asyncio.ensure_future(calls.run(never.wait(), "many")))
            await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="3 of one address and 4 of all"):
            await asyncio.wait_for(running[0], 1)
        for call in running[1:]:
            call.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(story())


def test_a_stranger_gets_little_of_its_text_back(server: ServerProcess) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="x" * 5000), timeout=20)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == f"there is no service {'x' * 80!r}"


def test_an_address_with_many_calls_without_a_key_ends_its_own() -> None:
    async def story() -> None:
        calls, never = OpenCalls(limit=4), asyncio.Event()
        other = asyncio.ensure_future(calls.run(never.wait(), "other"))
        await asyncio.sleep(0)
        many = []
        for _ in range(5):
            many.append(asyncio.ensure_future(calls.run(never.wait(), "many")))
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert [call.done() for call in many] == [True, True, False, False, False]
        assert not other.done()
        for call in [other, *many]:
            call.cancel()
        await asyncio.gather(other, *many, return_exceptions=True)

    asyncio.run(story())
