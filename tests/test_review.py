"""The review queue: which cases are asked in which order, and what an answer does."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from resight_client import corrected as parse
from resight_client import corrections as calls
from resight_client.calls import Call

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid import doubts
from reid.doubts import NOBODY, Gallery, NearestPeople, OwnScores, Queries
from server.auth import Auth
from server.clustering import Clustering
from server.doubtful import find
from server.doubtful.moment import Moment, Searches
from server.gallery import reviews
from server.gallery import tables as t
from server.gallery.records import NewItem
from server.http.app import create_app
from server.review import Reviewing, _rounded
from server.service import Service
from tests.grpc_here import served
from tests.stores import BACKENDS, add_site, open_store
from tests.test_calibration import CARD
from tests.tiny import COLUMNS, ROWS, make_tiny_bundle, open_tiny, png_of

_numbers = itertools.count()
# who is seen, who stands behind them in the picture, by how much the first one prevails, and the name
SHOWN: list[tuple[int, int, float, str | None]] = [
    *[(1, 1, 1.0, "ada")] * 3,
    *[(2, 2, 1.0, "bea")] * 3,
    (1, 5, 0.72, "bea"),  # 6: ada under the name of bea
    *[(3, 3, 1.0, "cy")] * 2,
    (3, 6, 0.75, "dan"),  # 9: cy once more, under another name
    (1, 4, 0.52, None),  # 10: perhaps ada
    *[(2, 7, 0.6, None)] * 2,  # 11, 12: a cluster that is likely to be bea
    (8, 8, 1.0, None),  # 13: a stranger
]
MERGE, MISNAMED, ITEM, CLUSTER = ("merge", 9, 8), ("misnamed", 6, 0), ("unnamed", 10, 2), ("unnamed", 12, 3)


@functools.cache
def view(one: int, other: int, share: float, number: int) -> bytes:
    """A picture of somebody with somebody behind, a little different each time."""
    colours = [np.random.default_rng(person).integers(0, 256, (ROWS, COLUMNS, 3)) for person in (one, other)]
    noise = np.random.default_rng(1000 + number).integers(-9, 10, colours[0].shape)
    mixed = share * colours[0] + (1 - share) * colours[1] + noise
    return png_of(np.clip(mixed, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all tests here, over a bundle whose card says what scores mean; each uses a site of its
    own."""
    folder = tmp_path_factory.mktemp("review")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    opened.engines.bundle.manifest.metrics[:] = [CARD[1]]
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The HTTP application over the service, without keys."""
    return create_app(service, Auth(service.store, required=False))


def enrolled(service: Service, name: str, shown: list[tuple[int, int, float, str | None]]) -> list[str]:
    """Enrolls pictures, at two cameras by turns; the ids of their items."""
    images = [view(one, other, share, number) for number, (one, other, share, _) in enumerate(shown)]
    records = [
        NewItem(("door", "hall")[n % 2], identity, 1000.0 + n, {}) for n, (*_, identity) in enumerate(shown)
    ]
    return [item.id for item in asyncio.run(service.enrolling.enroll(name, images, records)).items]


@pytest.fixture
def site(service: Service) -> tuple[str, list[str]]:
    """A site of the items in SHOWN, and their ids in this order."""
    name = f"site-{next(_numbers)}"
    return name, enrolled(service, name, SHOWN)


def send(app: FastAPI, call: Call, status: int = 200) -> Any:
    """What a call of the client answers, through the whole HTTP application."""

    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(call.method, call.path, **call.options)

    response = asyncio.run(answer())
    assert response.status_code == status, response.text
    return response.json()


def listed(app: FastAPI, name: str, limit: int = 20) -> list[parse.Case]:
    """The first cases of a site."""
    return parse.review(send(app, calls.review(name, limit))).cases


def what(case: parse.Case, ids: list[str]) -> tuple[str, int, int]:
    """A case in short: its kind, and the numbers of the two items that it shows first."""
    one, other = (side.evidence[0].id for side in case.sides)
    return case.kind, ids.index(one), ids.index(other)


def cases(app: FastAPI, name: str, ids: list[str]) -> dict[tuple[str, int, int], parse.Case]:
    """The cases of a site in short, in order."""
    return {what(case, ids): case for case in listed(app, name)}


def answered(
    app: FastAPI, site: tuple[str, list[str]], short: tuple[str, int, int], answer: str
) -> parse.Corrected:
    """Answers a case."""
    case = cases(app, *site)[short].case
    return parse.corrected(send(app, calls.answer_review(site[0], case, answer)))


def names(service: Service, ids: list[str]) -> list[str | None]:
    """Whose name each item bears."""
    items = [service.store.items.get(item) for item in ids]
    return [item.identity if item is not None else "erased" for item in items]


def found(service: Service, name: str, item: str) -> set[str]:
    """Ids of the items that a query by an item finds."""
    answer = asyncio.run(service.querying.query(name, item_id=item, top_k=50))
    return {match.item.id for match in answer.matches}


def gallery_of(rng: np.random.Generator, crops: dict[str, list[int]], vectors: np.ndarray) -> Gallery:
    """People by the numbers of their crops."""
    rows = [row for each in crops.values() for row in each]
    starts = np.cumsum([0, *(len(each) for each in crops.values())])
    return Gallery(list(crops), [tuple(each) for each in crops.values()], starts, vectors[rows])


def ranked(gallery: Gallery, queries: Queries, most: int) -> list[list[tuple[str, float]]]:
    """What `NearestPeople` promises, in plain loops."""
    found = []
    for query, barred in zip(queries.vectors, queries.barred, strict=True):
        best = {
            name: max(float(query @ crop) for crop in gallery.of(number))
            for number, name in enumerate(gallery.people)
            if name not in barred
        }
        found.append(sorted(best.items(), key=lambda each: -each[1])[:most])
    return found


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_the_most_similar_people_are_those_of_plain_loops_after_any_changes(seed: int, most: int) -> None:
    rng = np.random.default_rng((seed, most))
    vectors = rng.standard_normal((900, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    free = rng.permutation(900).tolist()
    crops = {f"p{n}": [free.pop() for _ in range(rng.integers(1, 9))] for n in range(30)}
    asked, barred = list(range(100)), {row: frozenset[str]() for row in range(900)}
    kept, own = NearestPeople(most), OwnScores()
    for step in range(10):
        gallery = gallery_of(rng, crops, vectors)
        queries = Queries(asked, vectors[asked], [barred[row] for row in asked])
        people, scores = kept.find(queries, gallery)
        for found, cosines, expected in zip(people, scores, ranked(gallery, queries, most), strict=True):
            names = [gallery.people[number] for number in found.tolist() if number != NOBODY]
            assert names == [name for name, _ in expected], step
            assert cosines[: len(names)] == pytest.approx([cosine for _, cosine in expected], abs=1e-6)
            assert np.isneginf(cosines[len(names) :]).all()
        others = own.find(gallery)
        for number, name in enumerate(gallery.people):
            found = others[gallery.starts[number] : gallery.starts[number + 1]]
            for crop, score in zip(crops[name], found.tolist(), strict=True):
                rest = [float(vectors[crop] @ vectors[other]) for other in crops[name] if other != crop]
                assert score == (pytest.approx(max(rest), abs=1e-6) if rest else -np.inf)
        for name in rng.choice(list(crops), 2, replace=False).tolist():  # what may happen to people
            deed = rng.integers(0, 5)
            if deed == 0:
                crops[name] = [*crops[name], free.pop(), free.pop()]
            elif deed == 1 and len(crops[name]) > 1:
                crops[name] = crops[name][1:]
            elif deed == 2 and len(crops) > 4:
                del crops[name]
            elif deed == 3:
                crops[f"new{step}"] = [free.pop()]
            else:
                for row in rng.choice(asked, 5).tolist():
                    barred[row] = barred[row] | {name}
        asked = sorted({*rng.choice(asked, 97, replace=False).tolist(), *rng.integers(0, 900, 5).tolist()})


def test_only_what_has_changed_is_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((400, 8)).astype(np.float32)
    crops = {f"p{n}": list(range(8 * n, 8 * n + 8)) for n in range(40)}
    barred = [frozenset[str]()] * 400
    compared: list[tuple[int, int]] = []
    among = doubts._best_among

    def counted(queries: Queries, gallery: Gallery, rows: np.ndarray, people: np.ndarray, most: int) -> Any:
        compared.append((len(rows), len(people)))
        return among(queries, gallery, rows, people, most)

    monkeypatch.setattr(doubts, "_best_among", counted)
    search = NearestPeople(1)
    first, _ = search.find(Queries(range(400), vectors, barred), gallery_of(rng, crops, vectors))
    assert compared == [(400, 40)]
    crops["p7"].append(399)
    search.find(Queries(range(400), vectors, barred), gallery_of(rng, crops, vectors))
    again = compared[1:]
    assert again[0] == (400, 1)  # all with the one person, and with everybody whom that person was nearest
    assert sum(rows for rows, _ in again[1:]) <= int((first == 7).sum())
    del compared[:]
    search.find(Queries(range(400), vectors, barred), gallery_of(rng, crops, vectors))
    assert [rows * people for rows, people in compared] == [0]


def test_who_is_alone_or_barred_from_everybody_is_like_nobody() -> None:
    one = np.eye(1, 4, dtype=np.float32)
    alone = Gallery(["ada"], ["mark"], np.array([0, 1]), one)
    nobody = Gallery([], [], np.array([0]), one[:0])
    for gallery, barred in ((alone, frozenset({"ada"})), (nobody, frozenset[str]())):
        for most in (1, 3):
            people, scores = NearestPeople(most).find(Queries([0], one, [barred]), gallery)
            assert people.tolist() == [[NOBODY] * most]
            assert np.isneginf(scores).all()
    assert OwnScores().find(alone).tolist() == [-np.inf]
    assert OwnScores().find(nobody).tolist() == []


def test_a_reason_never_says_that_a_probability_is_certain() -> None:
    said = [_rounded(probability) for probability in (0.0, 0.004, 0.006, 0.5, 0.994, 0.996, 1.0)]
    assert said == ["under 0.01", "under 0.01", "0.01", "0.50", "0.99", "over 0.99", "over 0.99"]


def test_the_most_useful_cases_come_first_with_both_sides_and_the_reason(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    queue = parse.review(send(app, calls.review(name, 20)))
    assert [what(case, ids) for case in queue.cases] == [CLUSTER, MERGE, MISNAMED, ITEM]
    assert (queue.open, queue.guess) == (4, True)
    cluster, merge, misnamed, item = queue.cases
    sides = [[(side.identity, side.items) for side in case.sides] for case in queue.cases]
    assert sides[:2] == [[(None, 2), ("bea", 4)], [("dan", 1), ("cy", 2)]]
    assert sides[2:] == [[("bea", 1), ("ada", 3)], [(None, 1), ("ada", 3)]]
    assert [each.id for each in cluster.sides[0].evidence] == [ids[12], ids[11]]
    assert {each.id for each in misnamed.sides[1].evidence} == set(ids[:3])
    assert merge.reason.startswith("'dan' and 'cy' look like one person: the probability")
    assert "bears the name 'bea' looks more like 'ada'" in misnamed.reason
    assert item.reason.startswith("An item without a name looks most like 'ada': the probability")
    assert cluster.reason.startswith("2 items without a name look most like 'bea'")
    assert item.probability is not None and cluster.probability is not None
    expected = [
        (case.probability or 0) * case.sides[0].items for case in queue.cases
    ]  # that get a right name
    assert expected == sorted(expected, reverse=True)
    assert merge.probability is not None and cluster.probability < merge.probability
    assert item.probability == pytest.approx(1 / (1 + np.exp(9 - 14 * item.score)), abs=1e-3)
    first = parse.review(send(app, calls.review(name, 1)))
    assert ([case.case for case in first.cases], first.open) == ([cluster.case], 4)


@pytest.mark.parametrize(
    ("short", "action", "changed"),
    [
        (MERGE, "merge", {9: "cy"}),
        (MISNAMED, "update", {6: "ada"}),
        (ITEM, "name", {10: "ada"}),
        (CLUSTER, "name", {11: "bea", 12: "bea"}),
    ],
)
def test_same_makes_both_sides_one_person_and_the_journal_undoes_it(
    service: Service,
    app: FastAPI,
    site: tuple[str, list[str]],
    short: tuple[str, int, int],
    action: str,
    changed: dict[int, str],
) -> None:
    name, ids = site
    before, case = names(service, ids), cases(app, name, ids)[short].case
    done = answered(app, site, short, "same")
    assert (done.site, done.items) == (name, len(changed))
    assert names(service, ids) == [changed.get(n, identity) for n, identity in enumerate(before)]
    assert parse.entry(send(app, calls.entry(done.entry or 0))).action == action
    assert case not in [each.case for each in listed(app, name)]
    send(app, calls.undo(done.entry or 0))
    assert names(service, ids) == before
    assert cases(app, name, ids)[short].case == case  # it is asked again, under the same id
    assert answered(app, site, short, "same").items == len(changed)


@pytest.mark.parametrize("short", [CLUSTER, MERGE, MISNAMED, ITEM])
def test_different_is_not_asked_again_and_is_obeyed_until_the_journal_undoes_it(
    service: Service, app: FastAPI, site: tuple[str, list[str]], short: tuple[str, int, int]
) -> None:
    name, ids = site
    before, case = names(service, ids), cases(app, name, ids)[short]
    sides = [[each.id for each in side.evidence] for side in case.sides]
    done = answered(app, site, short, "different")
    assert names(service, ids) == before
    again = [
        each
        for each in listed(app, name)
        if each.sides[0].evidence[0].id == sides[0][0] and each.sides[1].identity == case.sides[1].identity
    ]
    assert again == []
    for item in sides[0]:
        assert not found(service, name, item) & set(sides[1])
    for item in sides[1]:
        assert not found(service, name, item) & set(sides[0])
    if short is MERGE:
        send(app, calls.person("merge", name, "dan", into="cy"), 409)
    else:
        send(app, calls.update(sides[0][0], {"identity": case.sides[1].identity}, None, None), 409)
    # nor after the gallery has changed otherwise
    asyncio.run(service.enrolling.enroll(name, [view(9, 9, 1.0, 0)], [NewItem("door", "eve")]))
    assert short not in cases(app, name, ids)
    send(app, calls.undo(done.entry or 0))
    assert cases(app, name, ids)[short].case == case.case
    assert found(service, name, sides[0][0]) & set(sides[1])


def test_an_answer_about_one_item_keeps_the_score_it_was_asked_at_as_long_as_it_holds(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    seq = service.store.items.get(ids[ITEM[1]])
    assert seq is not None
    for short in (MERGE, MISNAMED, CLUSTER):  # none of these is one item with its best match
        answered(app, site, short, "different")
    assert service.store.reviews.answered(name) == []
    space = service.sites.get(name).state.version.space_id
    for answer in ("different", "same"):
        score = cases(app, name, ids)[ITEM].score
        done = answered(app, site, ITEM, answer)
        kept = [reviews.Answered(seq.seq, reviews.Asked(score, space), answer == "same")]
        assert service.store.reviews.answered(name) == kept
        if answer == "different":
            # the next best match is not the best one, so what is said of it says nothing of best matches
            again = [case for short, case in cases(app, name, ids).items() if short[1] == ITEM[1]]
            said = [send(app, calls.answer_review(name, case.case, "different")) for case in again]
            assert said and service.store.reviews.answered(name) == kept
            for each in said:
                send(app, calls.undo(each["entry"]))
        undone = send(app, calls.undo(done.entry or 0))
        assert service.store.reviews.answered(name) == []
    send(app, calls.undo(undone["entry"]))  # done again
    assert service.store.reviews.answered(name) == kept
    renamed = send(app, calls.update(ids[ITEM[1]], {"identity": "somebody else"}, None, None))
    assert service.store.reviews.answered(name) == []  # it says no longer that they are one
    send(app, calls.undo(renamed["entry"]))
    assert service.store.reviews.answered(name) == kept
    asyncio.run(service.items.erase_item(ids[ITEM[1]], "test"))
    assert service.store.reviews.answered(name) == []


def test_a_skip_says_nothing_of_whom_an_item_shows(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    answered(app, site, ITEM, "skip")
    assert service.store.reviews.answered(site[0]) == []


def test_a_cluster_is_not_asked_about_a_person_whom_one_of_its_items_does_not_show(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    send(app, calls.person("different", name, "bea", item=ids[12]))
    assert CLUSTER not in cases(app, name, ids)
    send(app, calls.person("different", name, "cy", item=ids[9]))  # dan's item is not cy
    assert list(cases(app, name, ids)) == [MISNAMED, ITEM]


def test_a_skipped_case_comes_behind_all_others_as_long_as_it_shows_the_same(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    before = names_of(app, name)
    assert answered(app, site, MERGE, "skip") == parse.Corrected(name, None, 0)
    assert list(cases(app, name, ids)) == [CLUSTER, MISNAMED, ITEM, MERGE]
    assert [case.skipped for case in listed(app, name)] == [False, False, False, True]
    answered(app, site, MISNAMED, "skip")
    assert list(cases(app, name, ids)) == [CLUSTER, ITEM, MERGE, MISNAMED]
    answered(app, site, ITEM, "different")
    assert list(cases(app, name, ids))[-2:] == [MERGE, MISNAMED]
    assert answered(app, site, MERGE, "same").items == 1  # it can be answered all the same
    assert names_of(app, name) == before - {"dan"}


def names_of(app: FastAPI, name: str) -> set[str]:
    """Names of a site's people."""
    return {
        person.identity
        for person in parse.people(send(app, calls.people(name, None, False, None, 99))).people
    }


def test_who_answers_later_is_told_who_was_faster_and_nothing_is_changed(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    case = cases(app, name, ids)[CLUSTER].case
    done = answered(app, site, CLUSTER, "different")
    before = names(service, ids)
    problem = send(app, calls.answer_review(name, case, "same"), 409)
    assert f"answered 'different' by local; entry {done.entry}" in problem["detail"]
    assert problem["entry"] == done.entry
    assert names(service, ids) == before
    send(app, calls.undo(done.entry or 0))
    send(app, calls.update(ids[11], {"identity": "eve"}, None, None))
    undone = send(app, calls.answer_review(name, case, "same"), 409)["detail"]
    assert "was decided otherwise" in undone and "was answered" not in undone


@pytest.mark.parametrize("answer", ["same", "different", "skip"])
@pytest.mark.parametrize(
    "change", ["named", "named second", "corrected", "renamed", "erased", "erased second"]
)
def test_a_case_that_changes_while_it_is_answered_is_refused_and_nothing_is_lost(
    service: Service,
    app: FastAPI,
    site: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    change: str,
) -> None:
    name, ids = site
    case = cases(app, name, ids)[CLUSTER].case
    number = 11 if change.endswith("second") else 12  # of the cluster's items, 12 is shown first
    find = Reviewing._find

    def slowly(self: Reviewing, *arguments: Any) -> Any:
        doubt = find(self, *arguments)
        if change.startswith("named"):
            send(app, calls.update(ids[number], {"identity": "eve"}, None, None))
        elif change == "corrected":
            send(app, calls.update(ids[3], {"identity": "eve"}, None, None))
        elif change == "renamed":
            send(app, calls.person("rename", name, "bea", to="beatrice"))
        else:
            send(app, Call("DELETE", f"/gallery/{ids[number]}", {}))
        return doubt

    monkeypatch.setattr(Reviewing, "_find", slowly)
    problem = send(app, calls.answer_review(name, case, answer), 409)
    assert "nothing was changed" in problem["detail"]
    expected = {"named": "'eve' by now", "corrected": "'eve' by now", "renamed": "'beatrice' by now"}
    assert expected.get(change.split()[0], "was erased meanwhile") in problem["detail"]
    assert names(service, ids)[23 - number] is None  # the other item of the cluster
    assert service.store.people.said(name).denied == {}
    assert service.store.reviews.skipped(name) == set()
    monkeypatch.undo()
    send(app, calls.answer_review(name, case, answer), 409)


def test_a_cluster_that_has_grown_is_another_case(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    case = cases(app, name, ids)[CLUSTER].case
    more = asyncio.run(service.enrolling.enroll(name, [view(2, 7, 0.6, 50)], [NewItem("door")])).items[0].id
    assert "list the queue again" in send(app, calls.answer_review(name, case, "same"), 409)["detail"]
    cluster = next(each for each in listed(app, name) if each.sides[0].items == 3)
    send(app, calls.answer_review(name, cluster.case, "same"))
    assert names(service, [ids[11], ids[12], more]) == ["bea"] * 3


def test_wrong_words_are_named(app: FastAPI, site: tuple[str, list[str]]) -> None:
    name, ids = site
    case = cases(app, name, ids)[MERGE].case
    assert (
        "send one of same, different, skip"
        in send(app, calls.answer_review(name, case, "yes"), 400)["detail"]
    )
    for wrong in ("7", f"{case}0", "x-y-0123456789abcdef"):
        assert "is no case" in send(app, calls.answer_review(name, wrong, "same"), 404)["detail"]
    unknown = f"{case[:-1]}{'0' if case[-1] != '0' else '1'}"
    for other in (unknown, f"{2**59}-1-0123456789abcdef", f"{'9' * 18}-1-0123456789abcdef"):
        assert "list the queue again" in send(app, calls.answer_review(name, other, "same"), 409)["detail"]
    for limit in (0, 201):
        assert "limit" in send(app, calls.review(name, limit), 400)["detail"]
    send(app, calls.review("nowhere", 5), 404)
    send(app, calls.answer_review("nowhere", case, "same"), 404)
    assert list(cases(app, name, ids)) == [CLUSTER, MERGE, MISNAMED, ITEM]


def test_nobody_is_asked_about_hidden_people(app: FastAPI, site: tuple[str, list[str]]) -> None:
    name, ids = site
    send(app, calls.person("hide", name, "ada", hidden=True))
    send(app, calls.person("hide", name, "cy", hidden=True))
    assert set(cases(app, name, ids)) == {("unnamed", 10, 6), CLUSTER}  # 6 bears another name
    send(app, calls.person("hide", name, "ada", hidden=False))
    assert list(cases(app, name, ids)) == [CLUSTER, MISNAMED, ITEM]


def test_where_people_are_one_their_items_are_not_asked_one_by_one(service: Service, app: FastAPI) -> None:
    name = f"site-{next(_numbers)}"
    ids = enrolled(service, name, [(1, 1, 1.0, "ada" if n % 2 else "adele") for n in range(6)])
    assert [kind for kind, *_ in cases(app, name, ids)] == ["merge"]


def test_without_a_calibration_cases_are_asked_and_no_probability_is_made_up(
    service: Service, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.engines.bundle.manifest, "metrics", [])
    name = f"site-{next(_numbers)}"
    ids = enrolled(service, name, SHOWN)
    queue = parse.review(send(app, calls.review(name, 20)))
    assert {what(case, ids) for case in queue.cases} == {MERGE, MISNAMED, ITEM, CLUSTER}
    assert {case.probability for case in queue.cases} == {None}
    assert queue.guess
    assert "nothing says yet what that means here" in queue.cases[0].reason


@pytest.mark.parametrize("identity", ["ada", None])
def test_a_site_where_nobody_or_everybody_has_a_name_is_asked_nothing(
    service: Service, app: FastAPI, identity: str | None
) -> None:
    name = f"site-{next(_numbers)}"
    (item,) = enrolled(service, name, [(1, 1, 1.0, identity)])
    assert listed(app, name) == []
    send(app, Call("DELETE", f"/gallery/{item}", {}))
    assert listed(app, name) == []


def test_cases_are_kept_until_the_gallery_changes(
    service: Service, app: FastAPI, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ids = site
    computed: list[Moment] = []

    def counted(moment: Moment, searches: Searches) -> Any:
        computed.append(moment)
        return find(moment, searches)

    monkeypatch.setattr("server.review.find", counted)
    first = listed(app, name)
    assert listed(app, name) == first
    answered(app, site, MERGE, "skip")
    assert len(computed) == 1
    changes = [
        lambda: enrolled(service, name, [(12, 12, 1.0, None)]),
        lambda: send(app, calls.person("hide", name, "ada", hidden=True)),
        lambda: send(app, calls.person("different", name, "ada", other="bea")),
        lambda: send(app, calls.person("different", name, "ada", item=ids[13])),
        lambda: send(app, calls.update(ids[13], {"identity": "eve"}, None, None)),
        lambda: send(app, Call("DELETE", f"/gallery/{ids[13]}", {})),
    ]
    for number, change in enumerate(changes, 2):
        change()
        listed(app, name)
        assert len(computed) == number
    place = service.sites.get(name)
    calibration = {**(place.state.version.calibration or {}), "slope": 20.0}
    version = dataclasses.replace(place.state.version, calibration=calibration)
    place.state = dataclasses.replace(place.state, version=version)  # scores mean something else by now
    listed(app, name)
    assert len(computed) == len(changes) + 2


def test_an_item_that_is_as_like_its_own_person_is_less_likely_to_show_another(
    service: Service, app: FastAPI
) -> None:
    shown = [*[(21, 21, 1.0, "ada")] * 3, *[(22, 22, 1.0, "bea")] * 3, (21, 22, 0.53, "bea")]
    name = f"site-{next(_numbers)}"
    enrolled(service, name, shown)
    [case] = [case for case in listed(app, name) if case.kind == "misnamed"]
    assert case.probability is not None
    alone = 1 / (1 + math.exp(-(14.0 * case.score - 9.0)))  # by the card, without its own person
    assert case.probability < alone - 0.02


@pytest.mark.parametrize("change", ["named", "erased"])
def test_an_item_that_changes_while_cases_are_looked_for_costs_no_answer(
    app: FastAPI, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    name, ids = site
    group = Clustering.grouped

    def slowly(self: Clustering, *arguments: Any) -> Any:
        grouped = group(self, *arguments)
        for item in ids[11:13]:
            if change == "named":
                send(app, calls.update(item, {"identity": "bea"}, None, None))
            else:
                send(app, Call("DELETE", f"/gallery/{item}", {}))
        return grouped

    monkeypatch.setattr(Clustering, "grouped", slowly)
    assert set(cases(app, name, ids)) == {MERGE, MISNAMED, ITEM}
    monkeypatch.undo()
    assert set(cases(app, name, ids)) == {MERGE, MISNAMED, ITEM}


def test_queries_and_corrections_go_on_while_cases_are_looked_for(
    service: Service, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ids = site
    begun, may_end = threading.Event(), threading.Event()

    def slowly(moment: Moment, searches: Searches) -> Any:
        begun.set()
        assert may_end.wait(30)
        return find(moment, searches)

    monkeypatch.setattr("server.review.find", slowly)

    async def beside() -> None:
        listing = asyncio.create_task(service.reviewing.page(name, 20))
        await asyncio.to_thread(begun.wait, 30)
        try:
            assert (await service.querying.query(name, item_id=ids[0])).matches
            await service.naming.hide(name, "ada", True, "test")
            assert not listing.done()
        finally:
            may_end.set()
        assert (await listing).open == 4  # as it was when it was asked for
        assert (await service.reviewing.page(name, 20)).open != 4

    asyncio.run(beside())


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_answer_goes_with_either_item_and_with_the_site(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = open_store(backend, tmp_path, request)
    for site in ("s", "other"):
        add_site(store, site)
    new = [NewItem("door", None)] * 6
    seqs = [item.seq for item in store.items.enroll("s", "space", new, None, np.ones((6, 4)))]
    elsewhere = store.items.enroll("other", "space", new[:2], None, np.ones((2, 4)))
    with store.database.write() as db:
        for pair in ((0, 1), (1, 2), (3, 4), (4, 5)):
            reviews.keep(db, "s", "merge", (seqs[pair[0]], seqs[pair[1]]), "skip", None, "ada")
        reviews.keep(db, "s", "merge", (seqs[3], seqs[4]), "different", None, "bea")  # instead of the skip
        reviews.keep(db, "other", "merge", (elsewhere[0].seq, elsewhere[1].seq), "skip", None, "ada")
    assert [each.answer for each in store.reviews.of_pair("s", (seqs[3], seqs[4]))] == ["different"]
    store.items.erase([seqs[1]], "test", "s", "item")
    assert store.reviews.skipped("s") == {("merge", (seqs[4], seqs[5]))}
    store.versions.delete_site("s", store.items.seqs("s").tolist(), "test")
    with store.database.read() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(t.reviews)) == 1
    store.close()


def test_both_protocols_list_and_answer_the_same_cases(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    queue = parse.review(send(app, calls.review(name, 20)))
    with served(service, required=False) as channel:
        stub = rpc.CorrectionsStub(channel)
        answer = stub.ListReview(pb.ListReviewRequest(site=name), timeout=30)
        assert (answer.open, answer.guess) == (queue.open, queue.guess)
        for one, other in zip(answer.cases, queue.cases, strict=True):
            for field in ("case", "kind", "score", "probability", "reason", "skipped"):
                assert getattr(one, field) == getattr(other, field)
            for side, same in zip(one.sides, other.sides, strict=True):
                assert (side.identity, side.items) == (same.identity or "", same.items)
                assert [item.id for item in side.evidence] == [item.id for item in same.evidence]
        assert len(stub.ListReview(pb.ListReviewRequest(site=name, limit=2), timeout=30).cases) == 2
        request = pb.AnswerReviewRequest(site=name, case=queue.cases[0].case)
        with pytest.raises(grpc.RpcError) as wrong:
            stub.AnswerReview(request, timeout=30)
        assert "answer is missing" in wrong.value.details()
        request.answer = "same"
        assert stub.AnswerReview(request, timeout=30).items == 2
        with pytest.raises(grpc.RpcError) as late:
            stub.AnswerReview(request, timeout=30)
        assert late.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert names(service, ids)[11:13] == ["bea"] * 2
