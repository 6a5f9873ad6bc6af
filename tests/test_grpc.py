"""gRPC: the same service, the same errors."""

import json
import uuid
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from resight_client import Client

from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc

People = list[tuple[bytes, str, str]]


@pytest.fixture(scope="module")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    """A connection."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


@pytest.fixture
def gallery(channel: grpc.Channel) -> rpc.GalleryStub:
    """The Gallery service."""
    return rpc.GalleryStub(channel)


def request(site: str, people: People, **fields: object) -> pb.EnrollRequest:
    """An enroll."""
    crops = [
        pb.Crop(image=d, identity=i, camera=c, captured_at=5.5, metadata_json='{"n": 1}')
        for d, i, c in people
    ]
    return pb.EnrollRequest(site=site, crops=crops, **fields)  # type: ignore[arg-type]


def site() -> str:
    """A site nobody else uses."""
    return f"grpc-{uuid.uuid4().hex[:8]}"


def test_what_grpc_enrolls_http_finds_and_the_other_way_round(
    gallery: rpc.GalleryStub, client: Client, people: People
) -> None:
    name = site()
    items = gallery.Enroll(request(name, people[:8])).items
    by_http = client.query(name, people[3][0]).matches[0]
    by_grpc = gallery.Query(pb.QueryRequest(site=name, images=[people[3][0]], top_k=3))
    assert by_http.id == by_grpc.matches[0].item.id == items[3].id
    assert by_http.score == pytest.approx(by_grpc.matches[0].score, abs=1e-5)
    assert by_grpc.space_id == client.site(name).space_id
    assert (by_http.captured_at, by_http.metadata) == ("1970-01-01T00:00:05.500000Z", {"n": 1})
    assert [m.rank for m in by_grpc.matches] == [1, 2, 3]
    assert gallery.Erase(pb.EraseRequest(site=name, identity="person-0")).erased == 4
    assert client.site(name).items == 4


def test_streaming_enroll_answers_each_request(
    gallery: rpc.GalleryStub, client: Client, people: People
) -> None:
    name = site()
    answers = list(gallery.EnrollStream(iter([request(name, people[i : i + 8]) for i in range(0, 48, 8)])))
    assert [len(answer.items) for answer in answers] == [8] * 6
    assert client.site(name).items == 48


def test_a_bad_request_ends_the_stream_and_keeps_what_was_answered(
    gallery: rpc.GalleryStub, client: Client, people: People
) -> None:
    name = site()
    stream = gallery.EnrollStream(
        iter(
            [
                request(name, people[:2]),
                request(name, [*people[2:4], (b"no image", "x", "y")]),
                request(name, people[4:6]),
            ]
        )
    )
    assert len(next(stream).items) == 2
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "image 2" in caught.value.details()
    assert client.site(name).items == 2


def test_errors_are_those_of_http(gallery: rpc.GalleryStub, people: People) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        gallery.Query(pb.QueryRequest(site="nowhere", images=[people[0][0]]))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert dict(caught.value.trailing_metadata())["resight-code"] == "not-found"
    for bad in (pb.QueryRequest(site="x"), pb.QueryRequest(site="x", images=[b"a"], top_k=10**9)):
        with pytest.raises(grpc.RpcError) as caught:
            gallery.Query(bad)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        gallery.Erase(pb.EraseRequest(item_id="a", identity="b"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_adapt_watch_and_roll_back(channel: grpc.Channel, gallery: rpc.GalleryStub, people: People) -> None:
    name, adaptation = site(), rpc.AdaptationStub(channel)
    gallery.Enroll(request(name, people))
    job = adaptation.Adapt(pb.AdaptRequest(site=name, tier="2"))
    seen = list(adaptation.WatchJob(pb.JobRequest(job=job.job)))
    assert (seen[-1].state, seen[-1].version) == ("succeeded", 2)
    assert json.loads(seen[-1].report_json)["pairs"] >= 8
    undone = adaptation.RollBack(pb.RollBackRequest(site=name))
    assert list(adaptation.WatchJob(pb.JobRequest(job=undone.job)))[-1].version == 3
    assert adaptation.CancelJob(pb.JobRequest(job=undone.job)).state == "succeeded"
    with pytest.raises(grpc.RpcError) as caught:
        adaptation.GetJob(pb.JobRequest(job="nothing"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_and_reflection(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "resight.v1.Gallery", "resight.v1.Adaptation"):
        assert (
            stub.Check(health_pb2.HealthCheckRequest(service=name)).status
            == health_pb2.HealthCheckResponse.SERVING
        )
    assert {"resight.v1.Gallery", "resight.v1.Adaptation"} <= set(
        ProtoReflectionDescriptorDatabase(channel).get_services()
    )
