"""Nobody without a key keeps the server from its callers. Over gRPC."""

import time
from collections.abc import Iterator

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.bundle import Bundle
from server.grpc.app import SCOPES

People = list[tuple[bytes, str, str]]
MIB = 1 << 20


@pytest.fixture(scope="module")
def keyed(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that needs keys."""
    folder = tmp_path_factory.mktemp("grpc-limits") / "data"
    limits = {"max_grpc_message_bytes": MIB, "max_inflight_bytes": MIB, "max_request_bytes": MIB}
    with ServerProcess(
        bundle.path, folder, auth="on", max_grpc_calls=3, max_grpc_calls_per_peer=0, **limits
    ) as running:
        yield running


@pytest.fixture(scope="module")
def channel(keyed: ServerProcess) -> Iterator[grpc.Channel]:
    """A connection that may send anything."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{keyed.grpc_port}", options=options) as opened:
        yield opened


@pytest.fixture
def gallery(channel: grpc.Channel) -> rpc.GalleryStub:
    """The Gallery service."""
    return rpc.GalleryStub(channel)


@pytest.fixture
def key(keyed: ServerProcess) -> list[tuple[str, str]]:
    """The metadata of a call with an admin key."""
    words = keyed.log.read_text().split()
    return [("authorization", "Bearer " + next(word for word in words if word.startswith("rs_")))]


def request(people: People) -> pb.EnrollRequest:
    """An enroll of one crop."""
    return pb.EnrollRequest(site="lobby", crops=[pb.Crop(image=people[0][0])])


def code_of(error: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.StatusCode:
    """The status that a call ended with."""
    return error.value.code()


def test_every_method_names_the_scope_that_it_needs() -> None:
    services = pb.DESCRIPTOR.services_by_name.values()
    methods = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    assert methods == {method for method in SCOPES if method.startswith("/resight.")}
    open_to_all = {method for method in methods if SCOPES[method] is None}
    assert open_to_all == {"/resight.v1.System/Ready"}  # as over HTTP


@pytest.mark.parametrize("method", [method for method, scope in SCOPES.items() if scope is not None])
def test_the_key_is_checked_before_the_message_is_read(channel: grpc.Channel, method: str) -> None:
    """The message never ends, and would be neither valid nor small enough."""
    call = channel.stream_unary(method)
    with pytest.raises(grpc.RpcError) as caught:
        call(iter([b"\xff" * (8 * MIB)]), timeout=20)
    assert code_of(caught) == grpc.StatusCode.UNAUTHENTICATED


def test_keyless_messages_are_not_kept(
    keyed: ServerProcess, gallery: rpc.GalleryStub, key: list[tuple[str, str]], people: People
) -> None:
    """The bound is half of what was sent: the server's own memory moves by some 50 MiB by itself."""
    assert gallery.Enroll(request(people), metadata=key, timeout=20).items  # what the first enroll allocates
    before = keyed.resident_bytes()
    large = pb.EnrollRequest(site="lobby", crops=[pb.Crop(image=bytes(50 * MIB))])
    calls = [gallery.Enroll.future(large) for _ in range(5)]
    assert gallery.Enroll(request(people), metadata=key, timeout=20).items
    assert {call.code() for call in calls} == {grpc.StatusCode.UNAUTHENTICATED}
    assert keyed.resident_bytes() - before < 125 * MIB


def test_calls_without_a_key_take_only_each_others_places(
    channel: grpc.Channel, gallery: rpc.GalleryStub, key: list[tuple[str, str]], people: People
) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    watchers = []
    for _ in range(90):
        watchers.append(health.Watch(health_pb2.HealthCheckRequest()))
        next(watchers[-1])
    assert gallery.Enroll(request(people), metadata=key, timeout=20).items
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status
    with pytest.raises(grpc.RpcError) as caught:
        next(watchers[0])
    assert code_of(caught) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert watchers[-1].is_active()
    for watcher in watchers:
        watcher.cancel()


def test_large_messages_without_a_key_are_refused_and_take_no_room_from_keyed_ones(
    channel: grpc.Channel, gallery: rpc.GalleryStub, key: list[tuple[str, str]], people: People
) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    watcher = health.Watch(health_pb2.HealthCheckRequest(service="x" * (MIB - 100)))
    with pytest.raises(grpc.RpcError) as caught:
        next(watcher)
    assert code_of(caught) == grpc.StatusCode.INVALID_ARGUMENT
    watchers = []
    for _ in range(30):  # one after the other: few messages without a key may arrive at once
        watchers.append(health.Watch(health_pb2.HealthCheckRequest(service="x" * 60_000)))
        next(watchers[-1])
    assert gallery.Enroll(request(people), metadata=key, timeout=20).items
    for watcher in watchers:
        watcher.cancel()


def test_a_keyless_message_that_does_not_end_keeps_nobody_out(channel: grpc.Channel) -> None:
    check = channel.stream_stream("/grpc.health.v1.Health/Check")
    silent = [check(_never()) for _ in range(20)]
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status
    for call in silent:
        call.cancel()


def _never() -> Iterator[bytes]:
    time.sleep(3)
    yield from ()


def test_calls_beyond_the_limit_are_told_to_come_again(
    gallery: rpc.GalleryStub, key: list[tuple[str, str]], people: People
) -> None:
    streams = [gallery.EnrollStream(_one_then_wait(request(people)), metadata=key) for _ in range(3)]
    for stream in streams:
        assert len(next(stream).items) == 1
    with pytest.raises(grpc.RpcError) as caught:
        gallery.Enroll(request(people), metadata=key, timeout=20)
    assert code_of(caught) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(caught.value.trailing_metadata())["resight-retry-after-s"] == "1"
    for stream in streams:
        stream.cancel()
    _until_served(gallery, key, people)


def _one_then_wait(message: pb.EnrollRequest) -> Iterator[pb.EnrollRequest]:
    yield message
    time.sleep(3)


def _until_served(gallery: rpc.GalleryStub, key: list[tuple[str, str]], people: People) -> None:
    """Waits until the server has noticed that other calls were cancelled."""
    until = time.monotonic() + 10
    while True:
        try:
            assert gallery.Enroll(request(people), metadata=key, timeout=20).items
            return
        except grpc.RpcError:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_a_malformed_message_ends_its_call_only(
    channel: grpc.Channel, gallery: rpc.GalleryStub, key: list[tuple[str, str]], people: People
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/resight.v1.Gallery/Query")(b"\xff\xff", metadata=key)
    assert code_of(caught) == grpc.StatusCode.INVALID_ARGUMENT
    assert gallery.Enroll(request(people), metadata=key).items


def test_the_count_of_bytes_returns_to_zero(
    keyed: ServerProcess, gallery: rpc.GalleryStub, key: list[tuple[str, str]], people: People
) -> None:
    assert gallery.Enroll(request(people), metadata=key).items
    bad = pb.EnrollRequest(site="lobby", crops=[pb.Crop(image=bytes(MIB // 2))])
    with pytest.raises(grpc.RpcError):
        gallery.Enroll(bad, metadata=key)
    stream = gallery.EnrollStream(_one_then_wait(request(people)), metadata=key)
    assert next(stream).items
    stream.cancel()
    until = time.monotonic() + 10
    headers = {"Authorization": key[0][1]}
    while (
        'inflight_bytes{protocol="grpc"} 0.0' not in httpx.get(f"{keyed.url}/metrics", headers=headers).text
    ):
        assert time.monotonic() < until
        time.sleep(0.05)
