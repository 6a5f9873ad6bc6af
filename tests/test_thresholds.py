"""Calibrations on request, thresholds that move with the gallery, and thresholds given as a rate."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from fastapi import FastAPI
from resight_client import calls, values

from cli.calibration import lines
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.auth import Auth
from server.calibration import TooFewLabels
from server.errors import BadRequest, Conflict
from server.fields import AllowedAlarms, threshold_of
from server.gallery.records import NewItem
from server.http.app import create_app
from server.service import Service
from server.thresholds import people_now, threshold_for
from tests.grpc_here import refusal, served
from tests.test_calibration import PEOPLE, crop, enroll
from tests.tiny import make_tiny_bundle, open_tiny

LABELLED = f"{PEOPLE} people"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with 40 people at two cameras of `lobby`, nobody of whom has a calibration yet."""
    folder = tmp_path_factory.mktemp("thresholds")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    enroll(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The HTTP application over the service, without keys."""
    return create_app(service, Auth(service.store, required=False))


def answered(app: FastAPI, path: str, **fields: str) -> dict[str, Any]:
    """What POST answers; with fields, to a picture of somebody."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            files = {"images": ("a.png", crop(3, 0, 9), "image/png")}
            return await client.post(path, **({"data": fields, "files": files} if fields else {}))

    body: dict[str, Any] = asyncio.run(send()).json()
    return body


@pytest.fixture(scope="module")
def calibrated(app: FastAPI) -> dict[str, Any]:
    """What `POST /sites/lobby/calibrate` answers."""
    return answered(app, "/sites/lobby/calibrate")


def strangers(service: Service, count: int) -> None:
    """Enrolls so many people without a name."""
    images = [crop(1000 + number, 0, 0) for number in range(count)]
    asyncio.run(service.enrolling.enroll("lobby", images, [NewItem("c0")] * count))


def test_http_grpc_client_and_site_say_the_same_of_a_calibration(
    service: Service, app: FastAPI, calibrated: dict[str, Any]
) -> None:
    assert calibrated == service.status.site(service.sites.get("lobby")).model_dump()["calibration"]
    assert (calibrated["guess"], calibrated["people"]) == (False, PEOPLE)
    assert calibrated["measured"]["gallery_people"] == PEOPLE
    with served(service, required=False) as channel:
        message = rpc.AdaptationStub(channel).Calibrate(pb.CalibrateRequest(site="lobby"), timeout=20)
    assert message.slope == calibrated["slope"]
    assert dict(message.thresholds) == {k: v for k, v in calibrated["thresholds"].items() if v is not None}
    assert dict(message.measured.refused) == calibrated["measured"]["refused"]
    read = values.calibration(calibrated)
    assert dataclasses.asdict(read) == calibrated
    shown = "\n".join(lines("lobby", read))
    assert LABELLED in shown
    assert f"above {calibrated['thresholds']['0.01']:.4f}" in shown
    assert "1 false alarms in 1,000 queries of unknown people: not known" in shown


def test_a_threshold_that_labels_do_not_support_is_null_and_says_how_many_would(
    calibrated: dict[str, Any],
) -> None:
    assert calibrated["thresholds"]["0.001"] is None
    assert calibrated["measured"]["missed"]["0.001"] is None
    assert (
        f"need 100 people with an identity and a camera, and {PEOPLE}"
        in (calibrated["measured"]["refused"]["0.001"])
    )


def test_fewer_false_alarms_miss_more_of_those_who_are_enrolled(calibrated: dict[str, Any]) -> None:
    missed, thresholds = calibrated["measured"]["missed"], calibrated["thresholds"]
    assert thresholds["0.01"] > thresholds["0.1"]
    assert 1 >= missed["0.01"] >= missed["0.1"] >= 0


def test_a_calibration_survives_a_restart(service: Service, calibrated: dict[str, Any]) -> None:
    (live,) = service.store.versions.live()
    assert live.calibration == service.sites.get("lobby").state.version.calibration
    assert live.calibration is not None and live.calibration["slope"] == calibrated["slope"]


def test_a_rate_is_the_threshold_at_which_it_is_reached(
    service: Service, app: FastAPI, calibrated: dict[str, Any]
) -> None:
    body = answered(app, "/query", site="lobby", top_k="100", threshold='{"false_alarms_per_1000": 10}')
    assert body["threshold"] == pytest.approx(calibrated["thresholds"]["0.01"], abs=1e-4)
    assert {m["id"] for m in body["matches"]} == {
        match["id"]
        for match in answered(app, "/query", site="lobby", top_k="100")["matches"]
        if match["score"] >= body["threshold"]
    }
    with served(service, required=False) as channel:
        stub = rpc.GalleryStub(channel)
        request = pb.QueryRequest(site="lobby", images=[crop(3, 0, 9)], top_k=100, false_alarms_per_1000=10)
        message = stub.Query(request, timeout=20)
        both = pb.QueryRequest(site="lobby", images=[crop(3, 0, 9)], false_alarms_per_1000=10, threshold=0.5)
        status, sentence = refusal(stub.Query, both)
    assert message.threshold == body["threshold"]
    assert [m.item.id for m in message.matches] == [m["id"] for m in body["matches"]]
    assert (status, "contradict" in sentence) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    rate = {"false_alarms_per_1000": 10.0}
    sent = calls.query("lobby", b"", None, 10, None, None, False, None, rate, None, False)
    assert threshold_of(sent.options["data"]["threshold"]) == AllowedAlarms(10)
    assert values.answer(body).threshold == body["threshold"]


def test_the_curve_says_of_each_rate_what_a_query_with_it_goes_by(
    service: Service, calibrated: dict[str, Any]
) -> None:
    overview = service.console.calibration("lobby")
    site = service.sites.get("lobby").state
    assert (overview.compared, len(overview.curve)) == (PEOPLE, 30)
    for point in overview.curve:
        rate = point.false_alarms_per_1000
        if point.people_needed > PEOPLE:
            assert (point.threshold, point.missed) == (None, None)
            with pytest.raises(Conflict, match=f"need {point.people_needed} people"):
                threshold_for(site.version, rate, len(site.index))
        else:
            assert point.threshold == threshold_for(site.version, rate, len(site.index))
    known = {point.false_alarms_per_1000: point for point in overview.curve}
    assert known[10].missed == pytest.approx(calibrated["measured"]["missed"]["0.01"], abs=0.011)
    assert (known[0.1].missed, known[0.1].people_needed) == (None, 317)
    missed = [point.missed for point in overview.curve if point.missed is not None]
    assert missed == sorted(missed, reverse=True)
    assert missed[0] > missed[-1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("high", "send a cosine"),
        ("1.5", "between -1 and 1"),
        ("nan", "between -1 and 1"),
        ('{"false_alarms_per_1000": 0}', "above 0 and below 1000"),
        ('{"false_alarms_per_1000": 1000}', "above 0 and below 1000"),
        ('{"false_alarms_per_1000": "5"}', "needs a number"),
        ('{"false_alarms_per_1000": true}', "needs a number"),
        ("{}", "needs a number"),
        ('{"per_1000": 5}', "unknown key 'per_1000'"),
        ("{", "not valid JSON"),
    ],
)
def test_a_wrong_threshold_is_named(app: FastAPI, text: str, sentence: str) -> None:
    body = answered(app, "/query", site="lobby", threshold=text)
    assert body["status"] == 400
    assert sentence in body["detail"]
    with pytest.raises(BadRequest):
        threshold_of(text)


def test_a_rate_is_refused_where_nothing_was_measured(
    service: Service, app: FastAPI, calibrated: dict[str, Any]
) -> None:
    body = answered(app, "/query", site="lobby", threshold='{"false_alarms_per_1000": 1}')
    assert (body["status"], body["people_needed"]) == (409, 100)
    assert "label more people" in body["detail"]
    asyncio.run(service.enrolling.enroll("hall", [crop(1, 0, 0)], [NewItem("c0", "ada")]))
    body = answered(app, "/query", site="hall", threshold='{"false_alarms_per_1000": 100}')
    assert body["status"] == 409
    assert "calibrate the site first" in body["detail"]
    assert answered(app, "/sites/hall/calibrate")["status"] == 409


def test_a_calibration_of_a_version_that_is_swapped_meanwhile_is_measured_again(
    service: Service, calibrated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = service.sites.get("lobby")
    before, swaps = site.state, []

    def swapped(*given: Any) -> dict[str, Any]:
        if len(swaps) < 2:
            swaps.append(site.state.version.version)
            version = dataclasses.replace(site.state.version, version=site.state.version.version + 1)
            site.state = dataclasses.replace(site.state, version=version)
            if len(swaps) == 2:
                raise TooFewLabels("its embeddings went with the version before", 0)
        return dict(before.version.calibration or {})

    monkeypatch.setattr("server.calibrating.of_labels", swapped)
    service.calibrating._calibrate(site, None)
    assert (len(swaps), site.state.version.version) == (2, before.version.version + 2)
    swaps.clear()
    monkeypatch.setattr("server.calibrating._TRIES", 2)
    with pytest.raises(Conflict, match="swapped again and again"):
        service.calibrating._calibrate(site, None)
    site.state = before


@pytest.mark.parametrize(
    ("items", "people"),
    [(0, 1), (1, 1), (160, 40), (161, 41), (3996, 999), (4001, 1010), (4_000_001, 1_010_000)],
)
def test_people_are_counted_by_items_and_rounded_up_to_three_digits(items: int, people: int) -> None:
    assert people_now({"measured": {"gallery_people": 40, "gallery_items": 160}}, items) == people


def test_thresholds_move_with_the_gallery_and_a_grown_one_is_measured_again(
    service: Service, app: FastAPI, calibrated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = service.sites.get("lobby")
    known = site.state.version.calibration
    strangers(service, 39)
    grown = service.status.site(site).calibration
    assert grown is not None and grown.measured is not None
    assert grown.measured.people_now > calibrated["measured"]["people_now"]
    assert (grown.thresholds["0.1"] or 0) > calibrated["thresholds"]["0.1"]
    assert grown.intercept < calibrated["intercept"]
    service.schedule.run_due()
    assert site.state.version.calibration == known  # 160 items were measured, a quarter is 40
    strangers(service, 1)
    service.schedule.run_due()
    renewed = service.status.site(site).calibration
    assert renewed is not None and renewed.measured is not None
    assert renewed.measured.gallery_items == 200
    assert PEOPLE + 30 < renewed.measured.gallery_people <= PEOPLE + 40  # two of them may look like one
    strangers(service, 60)
    measured: list[int] = []

    def too_few(*given: Any) -> dict[str, Any]:
        measured.append(1)
        raise TooFewLabels("they are gone", 0)

    monkeypatch.setattr("server.calibrating.of_labels", too_few)
    for _ in range(3):
        service.schedule.run_due()
    assert len(measured) == 1  # not again before the gallery has grown by another quarter
    assert service.status.site(site).calibration is not None
