"""Whatever an adaptation, a rollback, a job or a schedule is asked wrongly, HTTP and gRPC answer with the
same sentence, code and kind of status, and the site stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.grpc.problems import CODES
from tests.tiny import picture, tiny_server

NOWHERE, NO_JOB = "there is no site 'nowhere'", "there is no job"
JOB = "0" * 32
# what: HTTP's method, path and body; gRPC's method and message; HTTP's status; a part of the sentence
Row = tuple[str, str, dict[str, Any] | None, str, Any, int, str]


def _adapt(status: int, sentence: str, **fields: Any) -> Row:
    asked = {"site": "lobby"} | fields
    return "POST", "/adapt", asked, "Adapt", pb.AdaptRequest(**asked), status, sentence


def _roll_back(site: str, status: int, sentence: str) -> Row:
    return (
        "POST",
        f"/sites/{site}/rollback",
        None,
        "RollBack",
        pb.RollBackRequest(site=site),
        status,
        sentence,
    )


def _calibrate(site: str, status: int, sentence: str, labels: str = "") -> Row:
    path = f"/sites/{site}/calibrate" + (f"?labels={labels}" if labels else "")
    message = pb.CalibrateRequest(site=site, labels=labels)
    return "POST", path, None, "Calibrate", message, status, sentence


def _job(http: str, method: str, path: str, job: str) -> Row:
    return http, f"/adapt/{job}{path}", None, method, pb.JobRequest(job=job), 404, NO_JOB


def _schedule(status: int, sentence: str, site: str = "lobby", **after: Any) -> Row:
    message = pb.SetAdaptAfterRequest(site=site, adapt_after=pb.AdaptAfter(**after))
    return "PUT", f"/sites/{site}/adapt-after", after, "SetAdaptAfter", message, status, sentence


WRONG: dict[str, Row] = {
    "no site": _adapt(400, "site is empty", site=""),
    "unknown site": _adapt(404, NOWHERE, site="nowhere"),
    "odd site": _adapt(404, "there is no site", site="../\u00e9" + "x" * 200),
    "unknown tier": _adapt(400, "auto, none, 0, 1, 2", tier="7"),
    "tier twice": _adapt(400, "auto, none, 0, 1, 2", tier="1+1"),
    "tier with a space": _adapt(400, "auto, none, 0, 1, 2", tier=" 1"),
    "long tier": _adapt(400, "auto, none, 0, 1, 2", tier="0+" * 50_000),
    "auto and more": _adapt(400, "auto, none, 0, 1, 2", tier="auto+0"),
    "images not kept, tier 1": _adapt(409, "tier 0 needs no images", tier="1"),
    "images not kept, tier 2": _adapt(409, "tier 0 needs no images", tier="2", gate=False),
    "images not kept, several": _adapt(409, "tier 0 needs no images", tier="0+1"),
    "too few items": _adapt(422, "at least 16", site="few"),
    "too few items, tier 0": _adapt(422, "at least 16", site="few", tier="0"),
    "no items": _adapt(422, "no items to adapt to", site="empty"),
    "no items to go back": _adapt(422, "no items to adapt to", site="empty", tier="none"),
    "too few samples": _adapt(400, "max_samples is 3", max_samples=3),
    "too many samples": _adapt(400, "max_samples is 4000000000", max_samples=4_000_000_000),
    "seed below zero": _adapt(400, "seed is -1", seed=-1),
    "nothing to refit": _adapt(409, "nothing to refit", refit=True),
    "refit with a tier": _adapt(400, "leave tier out", refit=True, tier="1"),
    "refit of an unknown site": _adapt(404, NOWHERE, refit=True, site="nowhere"),
    "nothing to roll back": _roll_back("lobby", 409, "no earlier one to roll back to"),
    "rollback of an unknown site": _roll_back("nowhere", 404, NOWHERE),
    "too few labels": _calibrate("lobby", 409, "0 of its people have an identity and were seen by two"),
    "calibration of an unknown site": _calibrate("nowhere", 404, NOWHERE),
    "calibration by unknown labels": _calibrate("lobby", 400, "labels is 'faces'; send one of", "faces"),
    "calibration by labels of other letters": _calibrate("lobby", 400, "labels is 'ALL'", "ALL"),
    "too few identities": _calibrate("lobby", 409, "seen by two cameras, and 32 are needed", "identity"),
    "too few tracks": _calibrate("lobby", 409, "0 of its tracks have two moments", "tracklets"),
    "too few of either": _calibrate("lobby", 409, "0 tracks have two moments", "all"),
    "too few answers": _calibrate("lobby", 409, "0 answers of its review queue", "answers"),
    "unknown job": _job("GET", "GetJob", "", JOB),
    "odd job": _job("GET", "GetJob", "", "nothing"),
    "long job": _job("GET", "GetJob", "", "0" * 300),
    "events of an unknown job": _job("GET", "WatchJob", "/events", JOB),
    "cancel of an unknown job": _job("DELETE", "CancelJob", "", JOB),
    "cancel of an odd job": _job("DELETE", "CancelJob", "", "nothing"),
    "schedule of an unknown site": _schedule(404, NOWHERE, site="nowhere", items=5),
    "after no items": _schedule(400, "items is 0", items=0),
    "after fewer than no items": _schedule(400, "items is -5", items=-5),
    "after too many items": _schedule(400, "items is 10000000000", items=10_000_000_000),
    "after no hours": _schedule(400, "hours is 0", hours=0.0),
    "after fewer than no hours": _schedule(400, "hours is -1", hours=-1.0),
    "after too many hours": _schedule(400, "hours is 1000000", hours=1_000_000.0),
    "good items and bad hours": _schedule(400, "hours is 0", items=5, hours=0.0),
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that keeps no images, with a site of 20 items, one of two and one whose items are erased."""
    with tiny_server(tmp_path_factory.mktemp("wrong"), keep_images=False) as running:
        for site, count in (("lobby", 20), ("few", 2), ("empty", 1)):
            files = [("images", (f"{seed}.png", picture(seed), "image/png")) for seed in range(count)]
            sent = {"site": site, "camera": "door"}
            assert httpx.post(f"{running.url}/gallery", data=sent, files=files).status_code == 201
        erased = httpx.request("DELETE", f"{running.url}/gallery", params={"site": "empty", "all": "true"})
        assert erased.status_code == 200, erased.text
        yield running


@pytest.fixture(scope="module")
def adaptation(serving: ServerProcess) -> Iterator[rpc.AdaptationStub]:
    """The Adaptation service of that server."""
    with grpc.insecure_channel(f"127.0.0.1:{serving.grpc_port}") as channel:
        yield rpc.AdaptationStub(channel)


def refusal(adaptation: rpc.AdaptationStub, method: str, message: Any) -> tuple[grpc.StatusCode, str, str]:
    """The status, the code and the sentence with which gRPC refuses."""
    call = getattr(adaptation, method)
    with pytest.raises(grpc.RpcError) as caught:
        list(call(message)) if method == "WatchJob" else call(message)
    code = dict(caught.value.trailing_metadata())["resight-code"]
    return caught.value.code(), code, caught.value.details()


@pytest.mark.parametrize("what", WRONG)
def test_both_refuse_with_one_sentence_and_the_site_stays(
    serving: ServerProcess, adaptation: rpc.AdaptationStub, what: str
) -> None:
    http, path, body, method, message, status, sentence = WRONG[what]
    before = httpx.get(f"{serving.url}/sites").json()
    answered = httpx.request(http, f"{serving.url}{path}", json=body)
    problem = answered.json()
    assert (answered.status_code, sentence in problem["detail"]) == (status, True), problem
    assert refusal(adaptation, method, message) == (CODES[status], problem["code"], problem["detail"])
    assert httpx.get(f"{serving.url}/sites").json() == before


@pytest.mark.parametrize("hours", [float("nan"), float("inf"), float("-inf")])
def test_hours_that_json_cannot_say_are_refused_by_grpc_too(
    serving: ServerProcess, adaptation: rpc.AdaptationStub, hours: float
) -> None:
    message = pb.SetAdaptAfterRequest(site="lobby", adapt_after=pb.AdaptAfter(hours=hours))
    status, _, sentence = refusal(adaptation, "SetAdaptAfter", message)
    assert (status, sentence) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"hours is {hours}; it must lie between 0.1 and 8760",
    )
    assert httpx.get(f"{serving.url}/sites/lobby").json()["adapt_after"] is None


def test_both_say_which_job_a_site_has(serving: ServerProcess, adaptation: rpc.AdaptationStub) -> None:
    """Two requests at once: one begins, the other is told by whom it was beaten, or comes after its end."""
    begun = [adaptation.Adapt(pb.AdaptRequest(site="lobby", tier="0")).job]
    for _ in range(20):
        answered = httpx.post(f"{serving.url}/adapt", json={"site": "lobby", "tier": "0"}).json()
        if "detail" not in answered:
            begun.append(answered["job"])
            continue
        assert answered["job"] == begun[-1]
        assert f"already has job {begun[-1]} (adapt)" in answered["detail"]
    for job in begun:
        assert list(adaptation.WatchJob(pb.JobRequest(job=job)))[-1].state in ("declined", "succeeded")
