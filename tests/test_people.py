"""Answers by person: each once, with the items that speak for them, and whether anybody fits at all."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from resight_client import calls, values

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.calibration import Calibration
from server.auth import Auth
from server.errors import BadRequest
from server.gallery.records import Item, NewItem
from server.http.app import create_app
from server.people import EVIDENCE, Match, by_person, decide
from server.query import Answer
from server.service import Service
from tests.grpc_here import refusal, served
from tests.tiny import COLUMNS, ROWS, make_tiny_bundle, open_tiny, png_of

KNOWN = {
    "slope": 20.0,
    "intercept": -12.0,
    "thresholds": {"0.01": 0.8, "0.1": 0.5},
    "guess": False,
    "measured_on": "labels of the site",
    "people": 40,
    "error": 0.02,
}
SEEN = {"ada": 7, "bea": 3, "cy": 1, None: 2}  # items by identity


def ranking(*scored: tuple[str | None, float]) -> list[Match]:
    """Items of these identities with these scores, in order."""
    matches = []
    for number, (identity, score) in enumerate(scored):
        item = Item(number, f"id-{number}", "lobby", "door", identity, None, {}, 0.0)
        matches.append(Match(number + 1, score, item))
    return matches


def test_a_person_stands_once_with_the_score_of_the_best_item_and_the_margin_over_the_next() -> None:
    people = by_person(ranking(("ada", 0.9), ("bea", 0.8), ("ada", 0.7), ("cy", 0.75)))
    assert [(p.rank, p.identity, p.score) for p in people] == [
        (1, "ada", 0.9),
        (2, "bea", 0.8),
        (3, "cy", 0.75),
    ]
    assert [p.margin for p in people] == [0.1, 0.05, None]
    assert [match.rank for match in people[0].items] == [1, 3]


def test_an_item_without_an_identity_stands_alone() -> None:
    people = by_person(ranking((None, 0.9), ("id-0", 0.8), (None, 0.7)))
    assert [p.identity for p in people] == [None, "id-0", None]


def test_of_a_person_the_best_items_alone_are_shown() -> None:
    (person,) = by_person(ranking(*(("ada", 0.9 - 0.01 * n) for n in range(20))))
    assert [match.rank for match in person.items] == list(range(1, EVIDENCE + 1))


@pytest.mark.parametrize(
    ("scores", "decision"),
    [
        ((0.81, 0.79), "match"),
        ((0.81,), "match"),
        ((0.8, 0.1), "ambiguous"),  # not above what one unknown person in a hundred reaches
        ((0.95, 0.81), "ambiguous"),  # two people fit
        ((0.51, 0.1), "ambiguous"),
        ((0.5, 0.1), "nobody"),
        ((), "nobody"),
    ],
)
def test_the_decision_follows_from_the_thresholds(scores: tuple[float, ...], decision: str) -> None:
    people = by_person(ranking(*((f"p{n}", score) for n, score in enumerate(scores))))
    # how many people are shown changes nothing
    assert {decide(people, top_k, KNOWN).decision for top_k in (1, 10)} == {decision}


@pytest.mark.parametrize(
    ("sure", "possible", "scores", "decision"),
    [
        (None, 0.5, (0.99, 0.1), "ambiguous"),  # nothing says what one unknown person in a hundred reaches
        (None, 0.5, (0.5, 0.1), "nobody"),
        (None, 0.5, (), "nobody"),
        (None, None, (0.99, 0.1), None),
        (None, None, (), None),
    ],
)
def test_a_threshold_that_labels_do_not_support_decides_nothing(
    sure: float | None, possible: float | None, scores: tuple[float, ...], decision: str | None
) -> None:
    people = by_person(ranking(*((f"p{n}", score) for n, score in enumerate(scores))))
    known = KNOWN | {"thresholds": {"0.01": sure, "0.1": possible}}
    assert decide(people, 10, known).decision == decision


@pytest.mark.parametrize("threshold", [-1.0, 0.75, 0.85, 0.95])
def test_a_threshold_hides_people_but_not_that_they_fit(threshold: float) -> None:
    people = by_person(ranking(("ada", 0.95), ("bea", 0.84), ("ada", 0.8)))
    answer = decide(people, 10, KNOWN, threshold)
    assert [person.identity for person in answer.people] == ["ada", "bea"][: 1 if threshold > 0.84 else 2]
    assert all(match.score >= threshold for person in answer.people for match in person.items)
    assert answer.people[0].margin == pytest.approx(0.11)
    assert answer.decision == "ambiguous"


def test_whom_the_threshold_hides_is_nobody() -> None:
    answer = decide(by_person(ranking(("ada", 0.95))), 10, KNOWN, 0.96)
    assert (answer.people, answer.decision, answer.probability) == ([], "nobody", None)


def test_the_probability_is_the_calibrations_of_the_first_person() -> None:
    answer = decide(by_person(ranking(("ada", 0.7), ("bea", 0.2))), 10, KNOWN | {"guess": True})
    assert answer.probability == pytest.approx(float(Calibration(20, -12)(np.array([0.7]))[0]), abs=1e-4)
    assert decide([], 10, KNOWN).probability is None


def test_a_guess_decides_nothing() -> None:
    for people in (by_person(ranking(("ada", 0.99), ("bea", 0.2))), []):
        answer = decide(people, 10, KNOWN | {"guess": True})
        assert (answer.decision, answer.guess) == (None, True)


def test_nothing_is_decided_where_nobody_knows_what_scores_mean() -> None:
    answer = decide(by_person(ranking(("ada", 0.99))), 10, None)
    assert (answer.decision, answer.probability, answer.guess) == (None, None, None)
    assert len(answer.people) == 1


def crop(person: int, number: int) -> bytes:
    """A picture of somebody, a little different each time."""
    clothes = np.random.default_rng(person).integers(40, 216, (ROWS, COLUMNS, 3))
    noise = np.random.default_rng((person, number)).integers(-20, 20, clothes.shape)
    return png_of((clothes + noise).astype(np.uint8))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with three people and two items without an identity at `lobby`."""
    folder = tmp_path_factory.mktemp("people")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    images, records = [], []
    for person, (identity, count) in enumerate(SEEN.items()):
        for number in range(count):
            images.append(crop(person, number))
            records.append(NewItem(f"c{number % 2}", identity, None, {"n": number}))
    asyncio.run(opened.enrolling.enroll("lobby", images, records))
    yield opened
    opened.close()


def query(service: Service, **options: Any) -> Answer:
    """The people for another picture of ada."""
    return asyncio.run(service.querying.query("lobby", [crop(0, 99)], group_by="identity", **options))


def test_people_are_ranked_as_a_ranking_of_all_items_would_rank_them(service: Service) -> None:
    items = asyncio.run(service.querying.query("lobby", [crop(0, 99)], top_k=100)).matches
    answer = query(service)
    assert answer.matches == []
    assert answer.people is not None
    assert answer.people.people == by_person(items)
    assert len(answer.people.people) == 3 + 2
    assert answer.people.people[0].identity == "ada"
    assert len(answer.people.people[0].items) == EVIDENCE


def test_top_k_counts_people_and_the_last_one_shown_has_a_margin(service: Service) -> None:
    answer, whole = query(service, top_k=2), query(service)
    assert answer.people is not None
    assert whole.people is not None
    assert answer.people.people == whole.people.people[:2]
    assert answer.people.people[1].margin is not None


def test_people_behind_many_items_of_the_first_one_are_looked_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = query(service, top_k=4)
    assert whole.people is not None
    monkeypatch.setattr("server.query._FEWEST_GROUPED", 1)
    monkeypatch.setattr("server.query._MORE_GROUPED", 2)
    counts: list[int] = []
    nearest = service.querying._nearest

    def counted(search: Any, conditions: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
        counts.append(count)
        return nearest(search, conditions, count)

    monkeypatch.setattr(service.querying, "_nearest", counted)
    assert query(service, top_k=4).people == whole.people
    assert len(counts) > 1
    first = query(service, top_k=1).people
    assert first is not None
    assert first.people == whole.people.people[:1]  # with its margin over the next
    monkeypatch.setattr(service.querying.settings, "max_top_k", 8)  # more are never looked at
    counts.clear()
    assert query(service, top_k=8).people is not None
    assert max(counts) == 8


def test_only_items_that_are_shown_are_read_whole(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    by_seq = service.store.items.by_seq

    def counted(seqs: Sequence[int]) -> dict[int, Item]:
        read.extend(seqs)
        return by_seq(seqs)

    monkeypatch.setattr(service.store.items, "by_seq", counted)
    answer = query(service, top_k=1).people
    assert answer is not None
    assert [person.identity for person in answer.people] == ["ada"]
    assert len(read) <= 2 * EVIDENCE < sum(SEEN.values())  # hers, and those of the one who comes next


def test_conditions_hold_for_people_as_for_items(service: Service) -> None:
    answer = query(service, threshold=0.9)
    assert answer.people is not None
    assert [person.identity for person in answer.people.people] == ["ada"]
    whole = query(service).people
    assert whole is not None
    assert answer.people.people[0].margin == whole.people[0].margin
    others = query(service, query_camera="c0", exclude_same_camera=True)
    assert others.people is not None
    assert all(m.item.camera == "c1" for person in others.people.people for m in person.items)


def test_another_grouping_is_refused_by_name(service: Service) -> None:
    with pytest.raises(BadRequest, match="group_by is 'camera'; send identity, or leave it out"):
        asyncio.run(service.querying.query("lobby", [crop(0, 99)], group_by="camera"))


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The HTTP application over the service, without keys."""
    return create_app(service, Auth(service.store, required=False))


def test_what_scores_mean_in_another_space_says_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = service.sites.get("lobby").state.version
    for space, known in ((version.space_id, True), ("space-of-the-version-before", False)):
        guess = dataclasses.replace(version, calibration=KNOWN | {"guess": True, "space_id": space})
        state = dataclasses.replace(service.sites.get("lobby").state, version=guess)
        monkeypatch.setattr(service.sites.get("lobby"), "state", state)
        people = query(service).people
        assert people is not None
        assert (people.probability is not None, people.guess) == (known, True if known else None)


def post(app: FastAPI, **fields: str) -> dict[str, Any]:
    """What `POST /query` answers to another picture of ada."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            files = {"images": ("a.png", crop(0, 99), "image/png")}
            return await client.post("/query", data=fields, files=files)

    body: dict[str, Any] = asyncio.run(send()).json()
    return body


def test_http_grpc_and_the_client_say_the_same_of_people(service: Service, app: FastAPI) -> None:
    state = service.sites.get("lobby").state
    object.__setattr__(state.version, "calibration", KNOWN | {"space_id": state.version.space_id})
    body = post(app, site="lobby", group_by="identity", top_k="3")
    with served(service, required=False) as channel:
        request = pb.QueryRequest(site="lobby", images=[crop(0, 99)], group_by="identity", top_k=3)
        message = rpc.GalleryStub(channel).Query(request, timeout=20)
        wrong = pb.QueryRequest(site="lobby", images=[crop(0, 99)], group_by="camera")
        status, sentence = refusal(rpc.GalleryStub(channel).Query, wrong)
    assert (status, "group_by" in sentence) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    answer = values.answer(json.loads(json.dumps(body)))
    assert answer.people is not None
    assert answer.matches == []
    assert (answer.decision, answer.guess) == ("match", False)
    assert answer.probability is not None
    assert (message.decision, message.guess) == ("match", False)
    assert message.probability == pytest.approx(answer.probability)
    for person, theirs in zip(answer.people, message.people, strict=True):
        assert (person.rank, person.identity or "") == (theirs.rank, theirs.identity)
        assert person.score == pytest.approx(theirs.score)
        assert [match.id for match in person.items] == [match.item.id for match in theirs.items]
        margin = theirs.margin if theirs.HasField("margin") else None
        assert person.margin == pytest.approx(margin)


def test_a_threshold_keeps_the_same_items_over_both_protocols(service: Service, app: FastAPI) -> None:
    scores = [match["score"] for match in post(app, site="lobby", top_k="100")["matches"]]
    by_http = [len(post(app, site="lobby", threshold=repr(score))["matches"]) for score in scores]
    with served(service, required=False) as channel:
        stub = rpc.GalleryStub(channel)
        request = pb.QueryRequest(site="lobby", images=[crop(0, 99)])
        by_grpc = []
        for score in scores:
            request.threshold = score
            by_grpc.append(len(stub.Query(request, timeout=20).matches))
    assert by_grpc == by_http


def test_a_request_may_leave_metadata_out_of_its_answer(service: Service, app: FastAPI) -> None:
    whole, bare = (
        [post(app, site="lobby", **by, **flag) for by in ({}, {"group_by": "identity"})]
        for flag in ({}, {"without_metadata": "true"})
    )
    for one, other in zip(whole, bare, strict=True):
        assert '"n": ' in json.dumps(one)
        assert re.sub(r'"metadata": {[^}]*}', '"metadata": {}', json.dumps(one)) == json.dumps(other)
    with served(service, required=False) as channel:
        stub = rpc.GalleryStub(channel)
        listing = {
            flag: stub.List(pb.ListRequest(site="lobby", without_metadata=flag)) for flag in (False, True)
        }
        request = pb.QueryRequest(site="lobby", images=[crop(0, 99)], without_metadata=True)
        found = stub.Query(request, timeout=20).matches
    assert all(item.metadata_json for item in listing[False].items)
    assert not any(item.metadata_json for item in [*listing[True].items, *(match.item for match in found)])
    assert [item.id for item in listing[False].items] == [item.id for item in listing[True].items]
    for flag in (True, False):
        sent = calls.listing("lobby", {}, None, 10, flag).options["params"]
        asked = calls.query("lobby", None, "id", 1, None, None, False, None, None, None, flag).options["data"]
        expected = "true" if flag else None
        assert sent.get("without_metadata") == asked.get("without_metadata") == expected


def test_metadata_is_left_out_in_a_thread_while_the_loop_serves_others(
    service: Service, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    without_metadata = Answer.without_metadata

    def noted(ranking: Answer) -> Answer:
        threads.append(threading.current_thread().name)
        return without_metadata(ranking)

    monkeypatch.setattr(Answer, "without_metadata", noted)
    post(app, site="lobby", without_metadata="true")
    with served(service, required=False) as channel:
        request = pb.QueryRequest(site="lobby", images=[crop(0, 99)], without_metadata=True)
        rpc.GalleryStub(channel).Query(request, timeout=20)
    assert [name.partition("_")[0] for name in threads] == ["asyncio", "asyncio"]


def test_a_ranking_of_items_says_nothing_of_people(app: FastAPI) -> None:
    body = post(app, site="lobby")
    assert (body["people"], body["decision"], body["probability"], body["guess"]) == (None, None, None, None)
    assert len(body["matches"]) == 10


def test_the_command_line_prints_people_and_the_decision(capsys: pytest.CaptureFixture[str]) -> None:
    from cli.gallery import _print_people

    person = values.Person(1, "ada", 0.8, None, [values.Match(1, "x1", 0.8, "ada", "door", None, {})])
    answers = {
        "Match: the first person. Probability that it is the first person: 93 %.": ("match", 0.93, False),
        "not known: nothing has measured what scores mean at this site": (None, 0.93, True),
        "93 % (a guess, from another gallery)": (None, 0.93, True),
        "first person: over 99 %.": ("match", 0.996, False),
        "first person: under 1 %.": ("nobody", 0.004, False),
        "first person: 99 %.": ("match", 0.994, False),
    }
    for sentence, facts in answers.items():
        _print_people(values.Answer("lobby", 2, "space-1", [], [person], *facts))
        printed = capsys.readouterr().out
        assert "ada" in printed
        assert sentence in printed
    _print_people(values.Answer("lobby", 2, "space-1", [], [], "nobody", None, False))
    assert "Nobody:" in capsys.readouterr().out
