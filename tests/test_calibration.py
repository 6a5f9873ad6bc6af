"""What scores mean moves with the space: measured anew at every swap where labels suffice, otherwise marked
as a guess, and brought back by a rollback."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resight_client.values import site as read_site

from reid.bundle import Bundle
from reid.calibration import Calibration, Fitted, calibrate, fit
from reid.false_alarms import best_wrong_scores, fit_false_alarms
from reid.open_set import open_set_trial
from server.calibration import FEWEST_PEOPLE, TooFewLabels, of_labels
from server.calibration.by_names import _queries
from server.gallery.records import NewItem
from server.grpc import messages
from server.job import Interrupted
from server.labelled import _rows_of_people
from server.reports import CalibrationReport
from server.service import Service
from tests.test_adapt_ladder import adapt, ended
from tests.tiny import COLUMNS, ROWS, embedding_of, make_tiny_bundle, open_tiny, png_of

CARD = [
    {
        "dataset": name,
        "calibration slope": slope,
        "calibration intercept": -9.0,
        "calibration error": 3.5,
        "threshold at FPIR 1%": threshold,
        "threshold at FPIR 10%": 0.5,
    }
    for name, slope, threshold in (("easy", 30.0, 0.6), ("hard", 14.0, 0.8), ("middle", 20.0, 0.7))
]
PEOPLE = FEWEST_PEOPLE + 8


def crop(person: int, camera: int, number: int) -> bytes:
    """A picture of somebody: each camera sees it in a colour of its own, and no two are alike."""
    clothes = np.random.default_rng(person).integers(0, 256, (ROWS, COLUMNS, 3))
    noise = np.random.default_rng((person, camera, number)).normal(0, 60, clothes.shape)
    return png_of(np.clip(clothes + noise + (0, 40 * camera, 0), 0, 255).astype(np.uint8))


SEEN = [(person, camera, number) for person in range(PEOPLE) for camera in range(2) for number in range(2)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle that numpy computes."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """A service over a bundle whose card states calibrations."""
    opened = open_tiny(bundle, tmp_path / "data")
    opened.engines.bundle.manifest.metrics[:] = [{"dataset": "without", "mAP": 50.0}, *CARD]
    yield opened
    opened.close()


def enroll(service: Service, labels: int = PEOPLE) -> None:
    """Enrolls everybody, so many of them with a name, at two cameras."""
    records = [
        NewItem(camera=f"c{camera}", identity=f"person-{person}" if person < labels else None)
        for person, camera, _ in SEEN
    ]
    asyncio.run(service.enrolling.enroll("lobby", [crop(*seen) for seen in SEEN], records))


def told(service: Service) -> CalibrationReport:
    """What the site says its scores mean."""
    calibration = service.status.site(service.sites.get("lobby")).calibration
    assert calibration is not None
    return calibration


def by_hand(service: Service) -> dict[str, Any]:
    """The same, of embeddings that numpy computes."""
    profile = service.engines.profile(service.sites.get("lobby").state.version.profile_id)
    cameras = [f"c{camera}" for _, camera, _ in SEEN]
    raw = [embedding_of(crop(*seen), profile, one) for seen, one in zip(SEEN, cameras, strict=True)]
    vectors = profile.compare(np.array(raw, np.float16), cameras)
    _, persons = np.unique([f"person-{person}" for person, _, _ in SEEN], return_inverse=True)
    places = np.array([camera for _, camera, _ in SEEN])
    trial = open_set_trial(vectors, vectors, persons, persons, places, places)
    _, error, cllr = calibrate(trial)
    asked = trial.unknown | trial.known
    slope, intercept = fit(trial.best[asked], trial.right[asked])
    wrong = best_wrong_scores(vectors, persons, np.arange(len(persons)))
    alarms = fit_false_alarms(wrong, PEOPLE - 1)
    thresholds = {str(rate): alarms.threshold(rate, PEOPLE) for rate in (0.1, 0.01)}
    # half of the people are enrolled in a trial, everybody is in the site
    moved = intercept - np.log(2)
    return {"slope": slope, "intercept": moved, "error": error, "cllr": cllr} | thresholds


def test_a_new_site_has_the_calibration_of_the_card_with_the_highest_threshold(service: Service) -> None:
    enroll(service)
    live = service.sites.get("lobby").state.version
    assert told(service) == CalibrationReport(
        slope=14.0,
        intercept=-9.0,
        thresholds={"0.01": 0.8, "0.1": 0.5},
        space_id=live.space_id,
        guess=True,
        measured_on="hard",
        people=None,
        error=0.035,
    )


def test_labels_say_in_every_space_what_its_scores_mean(service: Service) -> None:
    enroll(service)
    spaces: dict[str, CalibrationReport] = {}
    for tier in ("0", "1+0", "none"):
        assert adapt(service, tier, gate=False).state == "succeeded"
        live, found = service.sites.get("lobby").state.version, told(service)
        assert (found.guess, found.people, found.space_id) == (False, PEOPLE, live.space_id)
        assert found.measured_on == "labels of the site"
        expected = by_hand(service)
        assert found.measured is not None
        seen = {"slope": found.slope, "intercept": found.intercept, "error": found.error}
        seen |= {"cllr": found.measured.cllr} | found.thresholds
        assert seen.pop("0.001") is None  # 40 people say nothing of one false alarm in 1,000 queries
        assert seen == pytest.approx(expected, rel=0.05, abs=0.02)
        spaces[live.space_id] = found
    assert len({found.slope for found in spaces.values()}) == 3


def test_a_rollback_and_a_restart_bring_back_what_scores_meant(
    service: Service, bundle: Bundle, tmp_path: Path
) -> None:
    enroll(service)
    first = told(service)
    adapt(service, "0", gate=False)
    centred = told(service)
    for seq in service.store.items.seqs("lobby")[:60]:  # labels no longer suffice to measure it again
        item = service.store.items.by_seq([int(seq)])[int(seq)]
        asyncio.run(service.items.erase_item(item.id, "test"))
    adapt(service, "1", gate=False)
    carried = told(service)
    assert (carried.guess, carried.slope, carried.space_id) == (True, centred.slope, centred.space_id)
    ended(service, asyncio.run(service.adapting.roll_back("lobby")))
    back = told(service)
    assert (back.guess, back.slope, back.space_id) == (False, centred.slope, centred.space_id)
    service.close()
    again = open_tiny(bundle, tmp_path / "data")
    assert told(again) == back
    ended(again, asyncio.run(again.adapting.roll_back("lobby")))
    assert told(again) == first
    again.close()


def test_without_enough_labels_the_calibration_before_is_a_guess(service: Service) -> None:
    enroll(service, labels=FEWEST_PEOPLE - 1)
    base = service.sites.get("lobby").state.version.space_id
    adapt(service, "0", gate=False)
    assert (told(service).guess, told(service).measured_on, told(service).space_id) == (True, "hard", base)


def test_a_job_that_should_end_does_so_while_its_site_is_measured(service: Service) -> None:
    enroll(service)

    def ends() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        service.rebuilder._calibration(service.sites.get("lobby"), service.engines.base_profile, ends)


def test_a_site_of_another_model_begins_with_the_card_again(service: Service) -> None:
    enroll(service, labels=0)
    site = service.sites.get("lobby")
    known = told(service).model_dump() | {"slope": 99.0}
    version = dataclasses.replace(site.state.version, calibration=known)
    for raw_space, slope in ((version.raw_space_id, 99.0), ("space-of-another-model", 14.0)):
        live = dataclasses.replace(version, raw_space_id=raw_space)
        site.state = dataclasses.replace(site.state, version=live)
        found = service.rebuilder._calibration(site, service.engines.base_profile, lambda: None)
        assert found is not None and found["slope"] == slope


def test_a_card_that_states_none_leaves_it_open(bundle: Bundle, tmp_path: Path) -> None:
    opened = open_tiny(bundle, tmp_path / "data")
    opened.engines.bundle.manifest.metrics.clear()
    enroll(opened, labels=0)
    adapt(opened, "0", gate=False)
    assert opened.status.site(opened.sites.get("lobby")).calibration is None
    opened.close()


def measured(service: Service) -> dict[str, Any]:
    """What the labels of the site say. Raises TooFewLabels."""
    state = service.sites.get("lobby").state
    raw_space = state.version.raw_space_id
    return of_labels(service.store, "lobby", state.compare, "space", raw_space)


def test_labels_of_one_picture_under_every_name_calibrate_nothing(service: Service) -> None:
    records = [
        NewItem(camera=f"c{camera}", identity=f"person-{person}")
        for person in range(PEOPLE)
        for camera in range(2)
    ]
    asyncio.run(service.enrolling.enroll("lobby", [crop(1, 0, 0)] * len(records), records))
    with pytest.raises(TooFewLabels, match="too few are wrong"):
        measured(service)


def test_labels_by_which_a_high_score_is_a_worse_match_calibrate_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    enroll(service)
    assert measured(service)["slope"] > 0
    monkeypatch.setattr(
        "server.calibration.by_names.calibrate", lambda trial: Fitted(Calibration(-1.0, 0.0), 0.1, 0.5)
    )
    with pytest.raises(TooFewLabels, match="worse match"):
        measured(service)


def test_of_too_many_items_whole_people_from_the_first_to_the_last_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.labelled.MOST_COMPARED", 8)
    identities = [f"person-{row // 4}" for row in range(32)]  # 8 people of 4 items
    rows = _rows_of_people([None, *identities], [None, *["door"] * 32])
    assert rows == [1, 2, 3, 4, 17, 18, 19, 20]
    monkeypatch.setattr("server.labelled.MOST_OF_A_PERSON", 2)
    many = [*["ada"] * 100, *["bea"] * 2, *["cy"] * 2]  # ada takes the room of nobody
    assert _rows_of_people(many, ["door"] * len(many)) == [0, 50, 100, 101, 102, 103]
    monkeypatch.setattr("server.labelled.MOST_OF_A_PERSON", 100)
    large = [*["ada"] * 6, "bea", *["cy"] * 6, "dan"]  # nobody is cut in two
    assert _rows_of_people(large, ["door"] * len(large)) == list(range(6))


def test_every_person_asks_about_as_often_where_there_are_too_many_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.calibration.by_names.MOST_QUERIES", 9)
    persons = [*["ada"] * 10, "bea", *["cy"] * 3]
    assert _queries(persons).tolist() == [0, 4, 9, 10, 11, 12, 13]


def test_more_labelled_items_than_may_ask_are_calibrated_by_all_people(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    enroll(service)
    whole = measured(service)
    monkeypatch.setattr(
        "server.calibration.by_names.MOST_QUERIES", PEOPLE + PEOPLE // 2
    )  # one item of each person
    some = measured(service)
    assert some["people"] == whole["people"] == PEOPLE
    assert some["measured"]["compared_people"] == whole["measured"]["compared_people"]


def test_a_calibration_is_finite_where_scores_part_right_from_wrong() -> None:
    scores, right = np.linspace(0.2, 0.9, 40), np.arange(40) >= 20
    found = fit(scores, right)
    assert 0 < found.slope < 1000 and found(np.array([0.55]))[0] == pytest.approx(0.5, abs=0.01)
    targets = np.where(right, 21 / 22, 1 / 22)

    def loss(slope: float, intercept: float) -> float:
        p = 1 / (1 + np.exp(-(slope * scores + intercept)))
        return float(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum())

    for slope, intercept in ((1.02, 1.02), (0.98, 0.98), (1.0, 1.01), (1.01, 1.0)):
        assert loss(*found) < loss(found.slope * slope, found.intercept * intercept)
    with pytest.raises(ValueError, match="right and wrong"):
        fit(scores, right | True)


def test_the_client_reads_what_scores_mean(service: Service) -> None:
    enroll(service)
    for tier in ("", "0"):
        if tier:
            adapt(service, tier, gate=False)
        report = service.status.site(service.sites.get("lobby"))
        read = read_site(report.model_dump())
        assert read.calibration is not None
        assert dataclasses.asdict(read.calibration) == told(service).model_dump()
    assert read_site(report.model_dump() | {"calibration": None}).calibration is None


def without_none(values: dict[str, float | None]) -> dict[str, float]:
    """What gRPC's maps hold."""
    return {key: value for key, value in values.items() if value is not None}


def test_grpc_says_the_same_of_what_scores_mean(service: Service) -> None:
    enroll(service)
    for tier in ("", "0"):
        if tier:
            adapt(service, tier, gate=False)
        report = service.status.site(service.sites.get("lobby"))
        sent = messages.site(report).calibration
        known = told(service).model_dump()
        measured = known.pop("measured")
        assert dict(sent.thresholds) == without_none(known.pop("thresholds"))
        for name, value in known.items():
            assert getattr(sent, name) == value if value is not None else not sent.HasField(name)
        assert sent.HasField("measured") == (measured is not None)
        if measured is not None:
            assert dict(sent.measured.missed) == without_none(measured.pop("missed"))
            assert dict(sent.measured.refused) == measured.pop("refused")
            assert dict(sent.measured.pairs) == measured.pop("pairs")
            assert {name: getattr(sent.measured, name) for name in measured} == measured
    unknown = messages.site(report.model_copy(update={"calibration": None}))
    assert not unknown.HasField("calibration")
