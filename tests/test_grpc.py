"""gRPC: the same service, the same errors."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from resight_client import Client

from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server import errors
from server.errors import Problem, Stopping, StoreUnavailable
from server.grpc.health import Health
from server.grpc.problems import CODES, abort
from tests.tiny import tiny_server

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


def test_every_problem_has_a_status_of_its_own() -> None:
    """One that is missing would be answered as a failure of the server."""
    problems = [getattr(errors, name) for name in dir(errors)]
    kinds = [kind for kind in problems if isinstance(kind, type) and issubclass(kind, errors.Problem)]
    kinds.remove(errors.HeadersTooLarge)  # of HTTP alone
    assert len(kinds) > 10
    for kind in kinds:
        assert kind.status in CODES, kind
        assert (CODES[kind.status] == grpc.StatusCode.INTERNAL) == (kind.status == 500), kind


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


def test_calls_are_counted_by_method_and_outcome(
    server: ServerProcess, gallery: rpc.GalleryStub, people: People
) -> None:
    site, image = f"counted-{uuid.uuid4().hex[:8]}", people[0][0]

    def counted() -> list[float]:
        text = httpx.get(f"{server.url}/metrics").text
        counts = []
        for outcome in ("OK", "NOT_FOUND"):
            start = f'resight_requests_total{{call="/resight.v1.Gallery/Query",outcome="{outcome}"}} '
            counts += [sum(float(line[len(start) :]) for line in text.splitlines() if line.startswith(start))]
        return counts

    gallery.Enroll(request(site, people[:1]))
    before = counted()
    gallery.Query(pb.QueryRequest(site=site, images=[image]))
    with pytest.raises(grpc.RpcError):
        gallery.Query(pb.QueryRequest(site="nowhere", images=[image]))
    assert counted() == [before[0] + 1, before[1] + 1]


def test_a_repeated_enroll_says_that_nothing_is_new(gallery: rpc.GalleryStub, people: People) -> None:
    name = site()
    keyed = request(name, people[:2], idempotency_key=f"once-{name}")
    first, again = gallery.Enroll(keyed), gallery.Enroll(keyed)
    assert (first.enrolled_before, again.enrolled_before) == (False, True)
    assert list(first.items) == list(again.items)


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


def refused(call: object, message: object, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT) -> str:
    """The sentence with which a call is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call(message)  # type: ignore[operator]
    assert caught.value.code() == code, caught.value.details()
    details: str = caught.value.details()
    return details


def test_list_pages_in_order_and_obeys_every_condition(
    gallery: rpc.GalleryStub, client: Client, people: People
) -> None:
    name = site()
    ids = [item.id for item in gallery.Enroll(request(name, people[:8])).items]
    first = gallery.List(pb.ListRequest(site=name, limit=5))
    rest = gallery.List(pb.ListRequest(site=name, limit=5, cursor=first.cursor))
    assert [item.id for item in (*first.items, *rest.items)] == ids
    assert rest.cursor == ""
    assert first.items[0].captured_at == 5.5
    stamp = client.item(ids[0]).enrolled_at
    same = json.dumps({"enrolled_at": {"gte": first.items[0].enrolled_at, "lte": stamp}})
    assert len(gallery.List(pb.ListRequest(site=name, filter_json=same)).items) == 8
    joined = pb.ListRequest(site=name, camera="cam-1", filter_json='{"identity": "person-0"}')
    assert [item.id for item in gallery.List(joined).items] == ids[2:4]
    window = {"captured_after": 5.5, "captured_before": 5.6}
    assert len(gallery.List(pb.ListRequest(site=name, **window)).items) == 8
    assert not gallery.List(pb.ListRequest(site=name, captured_before=5.5)).items


def test_fields_that_the_server_does_not_know_are_refused(
    channel: grpc.Channel, gallery: rpc.GalleryStub, client: Client, people: People
) -> None:
    """A condition of a newer client that is ignored would erase more than was meant."""
    name = site()
    gallery.Enroll(request(name, people[:8]))
    condition = b"\x7a\x02c1"  # field 15: a text
    erase = channel.unary_unary("/resight.v1.Gallery/Erase")
    enroll = channel.unary_unary("/resight.v1.Gallery/Enroll")
    crop = pb.Crop(image=people[0][0]).SerializeToString() + condition
    inner = pb.EnrollRequest(site=name).SerializeToString() + b"\x12" + bytes([len(crop) & 127 | 128])
    inner += bytes([len(crop) >> 7]) + crop
    for call, message, field in (
        (
            erase,
            pb.EraseRequest(site=name, identity="person-0").SerializeToString() + condition,
            "EraseRequest.15",
        ),
        (erase, pb.EraseRequest(site=name).SerializeToString() + b"\x18\x01", "EraseRequest.3"),  # an integer
        (enroll, inner, "Crop.15"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(message)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert field in caught.value.details()
    assert client.site(name).items == 8


def test_contradictions_are_named(gallery: rpc.GalleryStub, people: People) -> None:
    name = site()
    gallery.Enroll(request(name, people[:4]))
    for message in (
        pb.ListRequest(site=name, camera="a", filter_json='{"camera": "b"}'),
        pb.ListRequest(site=name, camera=""),
        pb.ListRequest(site=name, filter_json='{"camera": ""}'),
        pb.ListRequest(site=name, captured_after=9, captured_before=3),
        pb.ListRequest(site=name, cursor="x"),
        pb.ListRequest(site=name, limit=1001),
        pb.ListRequest(),
    ):
        assert refused(gallery.List, message)
    query = {"site": name, "images": [people[0][0]]}
    assert "older name" in refused(gallery.Query, pb.QueryRequest(**query, camera="a", query_camera="b"))
    assert "site is empty" in refused(gallery.Query, pb.QueryRequest(images=[people[0][0]]))
    assert "either" in refused(gallery.Query, pb.QueryRequest(**query, item_id="x"))
    assert "site" in refused(gallery.Enroll, request("", people[:1]))
    assert "256" in refused(gallery.Enroll, request(name, people[:1], idempotency_key="k" * 257))


def test_the_query_camera_leaves_out_its_items_by_both_names(
    gallery: rpc.GalleryStub, people: People
) -> None:
    name = site()
    gallery.Enroll(request(name, people[:8]))
    for camera in ({"query_camera": "cam-0"}, {"camera": "cam-0"}):
        query = pb.QueryRequest(site=name, images=[people[0][0]], exclude_same_camera=True, **camera)
        assert {match.item.camera for match in gallery.Query(query).matches} == {"cam-1"}


def test_an_erasure_takes_what_is_named_and_no_more(
    gallery: rpc.GalleryStub, client: Client, people: People
) -> None:
    north, south = site(), site()
    items = gallery.Enroll(request(north, people[:8])).items
    gallery.Enroll(request(south, people[:8]))
    one = items[0].id
    assert one in refused(gallery.Erase, pb.EraseRequest(site=south, item_id=one), grpc.StatusCode.NOT_FOUND)
    for message in (
        pb.EraseRequest(),
        pb.EraseRequest(site=north),
        pb.EraseRequest(site=north, filter_json="{}"),
        pb.EraseRequest(site=north, identity=""),
        pb.EraseRequest(identity="person-0"),
        pb.EraseRequest(site=north, item_id=one, identity="person-0"),
        pb.EraseRequest(site=north, item_id=one, filter_json='{"identity": "person-0"}'),
        pb.EraseRequest(site=north, item_id=one, all=True),
        pb.EraseRequest(site=north, identity="person-0", all=True),
        pb.EraseRequest(site=north, identity="person-0", filter_json='{"identity": "person-1"}'),
    ):
        assert refused(gallery.Erase, message)
    assert client.site(north).items == client.site(south).items == 8
    assert gallery.Erase(pb.EraseRequest(site=north, identity="person-0", camera="cam-0")).erased == 2
    assert gallery.Erase(pb.EraseRequest(site=north, filter_json='{"camera": "cam-0"}')).erased == 2
    assert gallery.Erase(pb.EraseRequest(site=north, item_id=items[2].id)).erased == 1
    assert gallery.Erase(pb.EraseRequest(site=north, all=True)).erased == 3
    assert (client.site(north).items, client.site(south).items) == (0, 8)


def test_adapt_watch_and_roll_back(channel: grpc.Channel, gallery: rpc.GalleryStub, people: People) -> None:
    name, adaptation = site(), rpc.AdaptationStub(channel)
    gallery.Enroll(request(name, people))
    job = adaptation.Adapt(pb.AdaptRequest(site=name, tier="2", gate=False))
    seen = list(adaptation.WatchJob(pb.JobRequest(job=job.job)))
    assert (seen[-1].state, seen[-1].version) == ("succeeded", 2)
    assert json.loads(seen[-1].report_json)["pairs"] >= 8
    undone = adaptation.RollBack(pb.RollBackRequest(site=name))
    assert list(adaptation.WatchJob(pb.JobRequest(job=undone.job)))[-1].version == 3
    assert adaptation.CancelJob(pb.JobRequest(job=undone.job)).state == "succeeded"
    with pytest.raises(grpc.RpcError) as caught:
        adaptation.GetJob(pb.JobRequest(job="nothing"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_the_gate_judges_unless_a_request_says_otherwise(
    channel: grpc.Channel, gallery: rpc.GalleryStub, people: People
) -> None:
    name, adaptation = site(), rpc.AdaptationStub(channel)
    gallery.Enroll(request(name, people))
    by: list[str] = []
    for options in ({"gate": False}, {"gate": True}, {}):
        job = adaptation.Adapt(pb.AdaptRequest(site=name, tier="0", **options))
        last = list(adaptation.WatchJob(pb.JobRequest(job=job.job)))[-1]
        by.append(json.loads(last.report_json)["rungs"][0]["by"])
    assert by[0] == "off"
    assert "off" not in by[1:]
    with pytest.raises(grpc.RpcError, match="auto, none, 0, 1, 2, 3"):
        adaptation.Adapt(pb.AdaptRequest(site=name, tier="4"))


def test_health_and_reflection(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "resight.v1.Gallery", "resight.v1.Adaptation", "resight.v1.System"):
        assert (
            stub.Check(health_pb2.HealthCheckRequest(service=name)).status
            == health_pb2.HealthCheckResponse.SERVING
        )
    assert {"resight.v1.Gallery", "resight.v1.Adaptation", "resight.v1.System"} <= set(
        ProtoReflectionDescriptorDatabase(channel).get_services()
    )


def test_health_says_that_the_server_stops(tmp_path: Path) -> None:
    with (
        tiny_server(tmp_path, drain_s=2) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        names = ("", "resight.v1.Gallery", "resight.v1.Adaptation")
        watchers = [stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=60) for name in names]
        assert [next(w).status for w in watchers] == [health_pb2.HealthCheckResponse.SERVING] * 3
        assert server.process is not None
        server.process.terminate()
        assert [next(w).status for w in watchers] == [health_pb2.HealthCheckResponse.NOT_SERVING] * 3
        assert server.process.wait(30) == 0


@pytest.mark.parametrize("error", [Stopping("ending"), StoreUnavailable("no database")])
def test_a_client_is_told_to_try_elsewhere_where_fewer_calls_would_not_help(error: Problem) -> None:
    """Unavailable, not resource exhausted: clients of gRPC go to another server for the first only."""
    ended: list[tuple[grpc.StatusCode, str]] = []

    class Context:
        async def abort(self, code: grpc.StatusCode, detail: str, trailers: object) -> None:
            ended.append((code, detail))

    asyncio.run(abort(Context(), "Enroll", error))
    assert ended == [(grpc.StatusCode.UNAVAILABLE, error.detail)]


def test_a_stop_that_begins_while_the_first_status_is_written_is_still_told() -> None:
    health = Health(["resight.v1.Gallery"])

    async def watched() -> list[int]:
        statuses = []
        async for answer in health.Watch(health_pb2.HealthCheckRequest(service="resight.v1.Gallery"), None):
            statuses.append(answer.status)
            health.stopping.set()
        return statuses

    response = health_pb2.HealthCheckResponse
    assert asyncio.run(watched()) == [response.SERVING, response.NOT_SERVING]
