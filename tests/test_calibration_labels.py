"""A site is calibrated by identities, by tracks, by both, and with answers of its review queue."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from resight_client import calls, values
from resight_client.calls import Call
from typer.testing import CliRunner

from cli.app import app as app_of_commands
from cli.calibration import lines
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.calibration import Calibration, calibrate, fit, moved_by, weigh
from reid.open_set import open_set_trial
from reid.tracklets import other_names, same_second, same_track
from server.auth import Auth
from server.calibration import FEWEST_ANSWERS, FEWEST_PEOPLE, FEWEST_TRACKS
from server.errors import Conflict
from server.fields import AllowedAlarms
from server.gallery import reviews
from server.gallery.records import Item, NewItem
from server.gallery.reviews import Asked
from server.http.app import create_app
from server.labelled import read
from server.reports import CalibrationReport
from server.service import Service
from tests.grpc_here import served
from tests.test_adapt_ladder import ended
from tests.test_calibration import CARD, crop
from tests.tiny import embedding_of, make_tiny_bundle, open_tiny

PEOPLE = FEWEST_PEOPLE + 8
ONE_CAMERA, TWO_CAMERAS = "corridor", "crossing"
Row = tuple[int, int, int]  # person, camera, number


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose corridor has one camera, and whose crossing two."""
    folder = tmp_path_factory.mktemp("labels")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    enroll(opened, ONE_CAMERA, [(person, 0, number) for person in range(PEOPLE) for number in range(3)])
    enroll(
        opened,
        TWO_CAMERAS,
        [(p, camera, number) for p in range(PEOPLE) for camera in (0, 1) for number in (0, 1)],
    )
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The HTTP application over the service, without keys."""
    return create_app(service, Auth(service.store, required=False))


def seconds(row: Row) -> float:
    """Four people at a time, each for ten seconds."""
    person, camera, number = row
    return 1000.0 + 100 * (person // 4) + 10_000 * camera + 5 * number + person % 4 / 8


def enroll(service: Service, site: str, rows: Sequence[Row], named: bool = True) -> list[Item]:
    """Enrolls crops of tracks; the first crop of each bears the person's name."""
    records = []
    for row in rows:
        person, camera, number = row
        identity = f"person-{person}" if named and number == 0 else None
        metadata = {"track": person if person % 2 else f"t{person}"}
        records.append(NewItem(f"c{camera}", identity, seconds(row), metadata))
    return asyncio.run(service.enrolling.enroll(site, [crop(*row) for row in rows], records)).items


def vectors_of(service: Service, site: str, rows: Sequence[Row]) -> np.ndarray:
    """float32 [N,24], as the site compares them, by numpy."""
    profile = service.engines.profile(service.sites.get(site).state.version.profile_id)
    cameras = [f"c{camera}" for _, camera, _ in rows]
    raw = [embedding_of(crop(*row), profile, one) for row, one in zip(rows, cameras, strict=True)]
    return profile.compare(np.array(raw, np.float16), cameras).astype(np.float32)


def measured(service: Service, site: str, labels: str | None = None) -> CalibrationReport:
    """What calibrating answers."""
    return asyncio.run(service.calibrating.calibrate(site, labels))


def sent(app: FastAPI, call: Call) -> dict[str, Any]:
    """What HTTP answers to a call of the client."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(call.method, call.path, **call.options)

    answer: dict[str, Any] = asyncio.run(send()).json()
    return answer


def test_names_of_one_camera_calibrate_with_the_pairs_that_tracks_show(service: Service) -> None:
    with pytest.raises(Conflict, match="0 of its people have an identity and were seen by two cameras"):
        measured(service, ONE_CAMERA, "identity")
    found = measured(service, ONE_CAMERA)
    assert found.measured is not None
    assert (found.guess, found.people, found.error) == (False, PEOPLE, None)
    assert (found.measured.labels, found.measured.tracks) == ("all", PEOPLE)
    assert "one camera" in found.measured.notes[0]
    rows = [(person, 0, number) for person in range(PEOPLE) for number in range(3)]
    vectors, times = vectors_of(service, ONE_CAMERA, rows), np.array([seconds(row) for row in rows])
    persons = np.array([person for person, _, _ in rows])
    one = same_track(vectors, persons, times)
    two = other_names(vectors, persons, np.arange(len(rows)))
    ratio, cllr = weigh([one], [two])
    assert found.slope == pytest.approx(ratio.slope, rel=0.02)
    # among as many people as the site has
    assert PEOPLE < found.measured.gallery_people < 3 * PEOPLE  # clusters of those without a name are people
    assert found.intercept == pytest.approx(ratio.intercept - np.log(found.measured.gallery_people), rel=0.02)
    assert found.measured.cllr == pytest.approx(cllr, abs=0.02)
    assert found.measured.pairs == {
        "same_track": len(one.scores),
        "same_name": 0,
        "other_name": len(two.scores),
    }
    assert found.thresholds["0.1"] is not None and found.thresholds["0.001"] is None


def test_tracks_alone_are_a_guess_without_thresholds_and_say_how_far_off_they_were(service: Service) -> None:
    found = measured(service, ONE_CAMERA, "tracklets")
    assert found.measured is not None
    assert (found.guess, found.people, found.error) == (True, None, None)
    assert (found.measured.labels, found.measured.tracks) == ("tracklets", PEOPLE)
    assert set(found.thresholds.values()) == {None}
    assert all("people with an identity" in why for why in found.measured.refused.values())
    assert "Market-1501" in found.measured.notes[0]
    rows = [(person, 0, number) for person in range(PEOPLE) for number in range(3)]
    vectors, times = vectors_of(service, ONE_CAMERA, rows), np.array([seconds(row) for row in rows])
    persons = np.array([person for person, _, _ in rows])
    one = same_track(vectors, persons, times)
    two, met = same_second(vectors, persons, ["c0"] * len(rows), times, [None] * len(rows))
    assert met == 6 * PEOPLE // 4  # four at a time
    assert found.measured.pairs == {"same_track": len(one.scores), "same_second": len(two.scores)}
    assert found.slope == pytest.approx(weigh([one], [two]).ratio.slope, rel=0.02)
    answer = asyncio.run(service.querying.query(ONE_CAMERA, [crop(1, 0, 9)], group_by="identity"))
    assert answer.people is not None
    assert (answer.people.decision, answer.people.guess) == (None, True)
    assert answer.people.probability is not None
    assert service.console.calibration(ONE_CAMERA).curve == []
    with pytest.raises(Conflict, match="calibrate the site first"):
        asyncio.run(service.querying.query(ONE_CAMERA, [crop(1, 0, 9)], threshold=AllowedAlarms(100.0)))


def test_an_item_without_a_name_counts_under_the_name_of_its_track(service: Service) -> None:
    alone, both = measured(service, TWO_CAMERAS, "identity"), measured(service, TWO_CAMERAS, "all")
    assert alone.measured is not None and both.measured is not None
    assert (alone.measured.labels, both.measured.labels) == ("identity", "all")
    counts = [sum(report.measured.pairs.values()) for report in (alone, both) if report.measured]
    assert counts == [2 * PEOPLE, 4 * PEOPLE]
    assert (alone.measured.tracks, both.measured.tracks) == (0, 2 * PEOPLE)
    rows = [(p, camera, number) for p in range(PEOPLE) for camera in (0, 1) for number in (0, 1)]
    vectors = vectors_of(service, TWO_CAMERAS, rows)
    persons = np.unique([f"person-{person}" for person, _, _ in rows], return_inverse=True)[1]
    places = np.array([camera for _, camera, _ in rows])
    trial = open_set_trial(vectors, vectors, persons, persons, places, places)
    asked = trial.unknown | trial.known
    assert both.slope == pytest.approx(fit(trial.best[asked], trial.right[asked]).slope, rel=0.02)
    assert both.error == pytest.approx(calibrate(trial).error, abs=0.02)


def test_a_track_of_two_names_is_left_out_and_counted(service: Service) -> None:
    before = measured(service, TWO_CAMERAS, "all")
    enrolled = enroll(service, "torn", [(p, c, n) for p in range(PEOPLE) for c in (0, 1) for n in (0, 1)])
    item = next(item for item in enrolled if item.identity is None)
    asyncio.run(service.correcting.update_item(item.id, {"identity": "somebody else"}, None, "test"))
    found = measured(service, "torn", "all")
    assert before.measured is not None and found.measured is not None
    assert (before.measured.torn_tracks, found.measured.torn_tracks) == (0, 1)
    assert "1 tracks bear two names" in "\n".join(lines("torn", values.calibration(found.model_dump())))


@pytest.mark.parametrize("labels", ["tracklets", "all"])
def test_too_few_tracks_are_refused_with_what_is_missing(service: Service, labels: str) -> None:
    site = f"few-{labels}"
    enroll(service, site, [(person, 0, number) for person in range(FEWEST_TRACKS - 1) for number in (0, 1)])
    known = service.sites.get(site).state.version.calibration
    with pytest.raises(
        Conflict, match=f"{FEWEST_TRACKS - 1}.*{FEWEST_TRACKS}.*captured_at and metadata.track"
    ):
        measured(service, site, labels)
    assert service.sites.get(site).state.version.calibration == known


def test_tracks_need_a_camera_and_a_time(service: Service) -> None:
    rows = [(person, 0, number) for person in range(PEOPLE) for number in (0, 1)]
    records = [NewItem("c0", None, None, {"track": person}) for person, _, _ in rows]
    records[0] = NewItem(None, None, 5.0, {"track": 0})
    records[1] = NewItem("c0", None, 5.0, {"track": True})
    for number, nobody in enumerate(("", -1, "", -1), 2):  # as trackers say that they follow nobody
        records[number] = NewItem("c0", None, 5.0 + number, {"track": nobody})
    asyncio.run(service.enrolling.enroll("untimed", [crop(*row) for row in rows], records))
    with pytest.raises(Conflict, match="0 of its tracks have two moments, and 32 are needed; 0 pairs of its"):
        measured(service, "untimed", "tracklets")


@pytest.mark.parametrize(
    ("site", "labels"), [(ONE_CAMERA, "tracklets"), (ONE_CAMERA, "all"), (TWO_CAMERAS, "all")]
)
def test_a_swap_measures_again_by_the_same_labels(service: Service, site: str, labels: str) -> None:
    before = measured(service, site, labels)
    tier = "0" if service.sites.get(site).state.version.tiers in (None, "none") else "none"
    job = asyncio.run(service.adapting.adapt(site, tier, gate=False))
    assert ended(service, job).state == "succeeded"
    after = service.status.site(service.sites.get(site)).calibration
    assert after is not None and after.measured is not None and before.measured is not None
    assert (after.measured.labels, after.guess) == (labels, labels == "tracklets")
    assert after.space_id != before.space_id
    assert after.measured.pairs.keys() == before.measured.pairs.keys()


def test_a_calibration_by_tracks_is_renewed_when_the_gallery_has_grown(service: Service) -> None:
    rows = [(person, 0, number) for person in range(PEOPLE) for number in range(3)]
    enroll(service, "growing", rows, named=False)
    first = measured(service, "growing", "tracklets")
    enroll(service, "growing", [(100 + person, 0, number) for person, _, number in rows], named=False)
    service.schedule.run_due()
    again = service.status.site(service.sites.get("growing")).calibration
    assert again is not None and again.measured is not None and first.measured is not None
    assert again.measured.tracks == 2 * first.measured.tracks
    assert again.measured.labels == "tracklets"


def test_both_protocols_client_and_command_say_the_same_of_each_kind_of_label(
    service: Service, app: FastAPI
) -> None:
    with served(service, required=False) as channel:
        stub = rpc.AdaptationStub(channel)
        for site, labels in ((ONE_CAMERA, "all"), (ONE_CAMERA, "tracklets"), (TWO_CAMERAS, "identity")):
            body = sent(app, calls.calibrate(site, labels))
            message = stub.Calibrate(pb.CalibrateRequest(site=site, labels=labels), timeout=20)
            known = body["measured"]
            assert known["labels"] == message.measured.labels == labels
            assert dict(message.measured.pairs) == known["pairs"]
            assert list(message.measured.notes) == known["notes"]
            assert (message.measured.tracks, message.measured.torn_tracks) == (known["tracks"], 0)
            assert (message.guess, message.slope) == (body["guess"], body["slope"])
            assert (message.HasField("people"), message.HasField("error")) == (
                body["people"] is not None,
                body["error"] is not None,
            )
            read_back = values.calibration(body)
            assert dataclasses.asdict(read_back) == body
            said = "\n".join(lines(site, read_back))
            assert ("tracks" in said.splitlines()[0]) == (labels != "identity")
            for note in known["notes"]:
                assert note in said
            assert all(
                f"{count} {kind.replace('_', ' ')}" in said for kind, count in known["pairs"].items() if count
            )
        assert sent(app, calls.calibrate(TWO_CAMERAS, None))["measured"]["labels"] == "identity"
    helped = CliRunner().invoke(app_of_commands, ["calibrate", "--help"])
    assert "--labels" in helped.output


def answer_rows(service: Service, site: str, said: Sequence[tuple[float, bool, str]]) -> list[int]:
    """Keeps answers about the newest items of a site, as a queue does; returns the items."""
    seqs = [int(seq) for seq in service.store.items.seqs(site)[-len(said) :]]
    first = int(service.store.items.seqs(site)[0])
    with service.store.database.write() as db:
        for seq, (score, same, space) in zip(seqs, said, strict=True):
            kind = "same" if same else "different"
            reviews.keep(db, site, "unnamed", (seq, first), kind, None, "test", Asked(score, space))
    return seqs


def test_answers_count_with_the_score_they_were_asked_at_and_whom_they_named_asks_nothing(
    service: Service,
) -> None:
    site = "answered"
    rows = [(p, camera, number) for p in range(PEOPLE) for camera in (0, 1) for number in (0, 1)]
    records = [NewItem(f"c{camera}", f"person-{person}") for person, camera, _ in rows]
    asyncio.run(service.enrolling.enroll(site, [crop(*row) for row in rows], records))
    before = measured(service, site)
    space = service.sites.get(site).state.version.space_id
    rng = np.random.default_rng(0)
    said = [(float(rng.uniform(0.4, 0.9)), bool(number % 3 == 0), space) for number in range(30)]
    said += [(0.5, True, "another space"), (0.5, False, "another space")]
    seqs = answer_rows(service, site, said)
    named = [seq for seq, (_, same, _) in zip(seqs, said, strict=True) if same]
    found = measured(service, site)
    assert before.measured is not None and found.measured is not None
    assert (found.measured.pairs["answered_same"], found.measured.pairs["answered_different"]) == (10, 20)
    asked = found.measured.pairs["same_name"] + found.measured.pairs["other_name"]
    assert asked == len(rows) - len(named)
    assert before.measured.pairs["answered_same"] == 0
    vectors = vectors_of(service, site, rows)
    persons = np.unique([f"person-{person}" for person, _, _ in rows], return_inverse=True)[1]
    places = np.array([camera for _, camera, _ in rows])
    may = ~np.isin(service.store.items.seqs(site), named)
    trial = open_set_trial(vectors[may], vectors, persons[may], persons, places[may], places)
    queries = trial.unknown | trial.known
    scores = np.concatenate([trial.best[queries], [score for score, _, _ in said[:30]]])
    right = np.concatenate([trial.right[queries], [same for _, same, _ in said[:30]]])
    expected = fit(scores, right, np.arange(len(scores)) >= queries.sum())
    assert found.slope == pytest.approx(expected.slope, rel=0.02)
    assert found.slope != before.slope
    assert found.people == before.people  # nobody goes from the gallery


def test_answers_move_what_the_card_says_where_labels_are_too_few(service: Service) -> None:
    site = "asked"
    card = [metrics.copy() for metrics in CARD[1:2]]
    service.engines.bundle.manifest.metrics[:] = card
    try:
        enroll(service, site, [(person, 0, 0) for person in range(24)])
        guess = service.status.site(service.sites.get(site)).calibration
        assert guess is not None and guess.measured_on == "hard"
        space = guess.space_id
        said = [(0.4 + number / 50, number > 4, space) for number in range(FEWEST_ANSWERS - 1)]
        answer_rows(service, site, said)
        for labels in (None, "answers"):  # what is missing of people is said first
            with pytest.raises(Conflict, match="are needed" if labels else "seen by two cameras"):
                measured(service, site, labels)
        said.append((0.9, True, space))
        answer_rows(service, site, said)
        for _ in range(2):  # by the card each time, not by what it was moved to
            found = measured(service, site)
            assert found.measured is not None
            assert (found.guess, found.people, found.error) == (True, None, None)
            assert found.measured_on == "hard, and answers of the site"
            scores, same = np.array([score for score, _, _ in said]), np.array([same for _, same, _ in said])
            expected = moved_by(Calibration(guess.slope, guess.intercept), scores, same)
            assert found.slope == pytest.approx(expected.slope, abs=1e-3)
            assert found.intercept == pytest.approx(expected.intercept, abs=1e-3)
            assert found.measured.pairs == {"answered_same": 15, "answered_different": 5}
            assert set(found.thresholds.values()) == {None}
        assert "15 answered same" in "\n".join(lines(site, values.calibration(found.model_dump())))
        middle = np.array([0.55])
        assert expected(middle)[0] > Calibration(guess.slope, guess.intercept)(middle)[0]
    finally:
        service.engines.bundle.manifest.metrics.clear()
    enroll(service, "cardless", [(person, 0, 0) for person in range(24)])
    space = service.sites.get("cardless").state.version.space_id
    answer_rows(service, "cardless", [(score, same, space) for score, same, _ in said])
    with pytest.raises(Conflict, match="it says nothing"):
        measured(service, "cardless", "answers")


def test_items_that_have_no_embedding_any_more_are_left_out(service: Service) -> None:
    state = service.sites.get(TWO_CAMERAS).state
    seen = read(service.store, TWO_CAMERAS, state.version.raw_space_id, state.compare, True)
    none = read(service.store, TWO_CAMERAS, "no such space", state.compare, True)
    assert (len(seen.vectors), len(none.vectors)) == (4 * PEOPLE, 0)
