"""People without a name in answers by person: a row for each cluster, of one state of the site."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from resight_client import corrections as calls
from resight_client import values
from resight_client.calls import Call

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.clusters import clusters_of, count_people, least_cosine
from server import clustering
from server.auth import Auth
from server.clustering import Clustering
from server.gallery.records import NewItem
from server.http.app import create_app
from server.people import Person
from server.service import Service
from server.unknown import UnknownPeople
from tests.grpc_here import served
from tests.test_calibration import PEOPLE
from tests.test_calibration import enroll as enroll_labelled
from tests.test_clusters import people_of, view
from tests.tiny import make_tiny_bundle, open_tiny

_numbers = itertools.count()
ADA, UNKNOWN, OTHER, STRANGER = range(4)  # whom pictures show


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all tests here; each uses a site of its own."""
    folder = tmp_path_factory.mktemp("unknown")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The HTTP application over the service, without keys."""
    return create_app(service, Auth(service.store, required=False))


def enroll(
    service: Service, name: str, person: int, *pictures: int, identity: str | None = None
) -> list[str]:
    """Ids of new items: pictures of somebody by two cameras in turn."""
    records = [NewItem(("door", "hall")[n % 2], identity) for n in pictures]
    images = [view(person, n) for n in pictures]
    return [item.id for item in asyncio.run(service.enrolling.enroll(name, images, records)).items]


@pytest.fixture
def site(service: Service) -> tuple[str, list[str]]:
    """A site with two pictures of ada, and without a name 7, 3 and 1 of others; and the ids of the 11."""
    name = f"site-{next(_numbers)}"
    enroll(service, name, ADA, 0, 1, identity="ada")
    unnamed = enroll(service, name, UNKNOWN, *range(7))
    return name, unnamed + enroll(service, name, OTHER, *range(3)) + enroll(service, name, STRANGER, 0)


def send(app: FastAPI, call: Call) -> Any:
    """What a call of the client answers, through the whole HTTP application."""

    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(call.method, call.path, **call.options)

    response = asyncio.run(answer())
    assert response.status_code == 200, response.text
    return response.json()


def group(service: Service, name: str) -> None:
    """Has the clusters of a site made, as somebody who lists them does."""
    asyncio.run(service.clustering.page(name, None, 1))


def people(service: Service, name: str, person: int = UNKNOWN, **options: Any) -> list[Person]:
    """The people who are found for another picture of somebody."""
    images = [view(person, 99)] if "item_id" not in options else []
    answer = asyncio.run(service.querying.query(name, images, group_by="identity", **options))
    assert answer.people is not None
    return answer.people.people


def rows(found: list[Person]) -> list[tuple[str | None, str | None, int]]:
    """Identity, cluster and number of shown items of each."""
    return [(person.identity, person.cluster, len(person.items)) for person in found]


def settled(service: Service) -> None:
    """Waits until no clusters are being made."""
    service.clustering.worker.submit(lambda: None).result()


def rest(service: Service, name: str) -> None:
    """Keeps the clusters that a site has from being made again by queries."""
    service.clustering.rests[name] = service.sites.get(name).state.version.version, time.monotonic() + 60


def test_an_unknown_person_is_one_row_with_the_best_items_and_a_margin_over_the_next_person(
    service: Service, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    group(service, name)
    found = people(service, name)
    assert rows(found[:1]) == [(None, ids[0], 5)]  # seven items, five at most are shown
    assert sorted(rows(found[1:]), key=str) == sorted(
        [("ada", None, 2), (None, ids[7], 3), (None, None, 1)], key=str
    )
    first = found[0]
    assert first.score == max(match.score for match in first.items)
    assert first.margin == pytest.approx(first.score - found[1].score, abs=1e-5)
    assert {match.item.id for match in first.items} < set(ids[:7])
    assert people(service, name, top_k=1) == found[:1]


def test_a_query_by_an_item_finds_the_rest_of_its_cluster(
    service: Service, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    group(service, name)
    first = people(service, name, item_id=ids[7])[0]
    assert first.cluster == ids[7]  # still called by its oldest item, which asks
    assert {match.item.id for match in first.items} == set(ids[8:10])


def test_a_query_waits_for_no_clusters_and_later_ones_have_them(
    service: Service, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    release = threading.Event()
    service.clustering.worker.submit(release.wait, 30)
    try:
        assert {person.cluster for person in people(service, name)} == {None}
        assert len(people(service, name, top_k=20)) == 1 + 11  # each item stands alone
    finally:
        release.set()
    settled(service)
    assert rows(people(service, name)[:1]) == [(None, ids[0], 5)]


def test_items_that_came_since_stand_alone_until_clusters_are_made_again(
    service: Service, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    group(service, name)
    (new,) = enroll(service, name, UNKNOWN, 20)
    rest(service, name)
    found = people(service, name)
    assert [p.items[0].item.id for p in found if p.identity is None and p.cluster is None][:1] == [new]
    settled(service)
    assert len(people(service, name)) == len(found)  # not yet: it rests
    service.clustering.rests.clear()
    people(service, name)
    settled(service)
    assert len(people(service, name)) == len(found) - 1
    assert people(service, name)[0].cluster == ids[0]


def test_clusters_are_made_again_after_one_item_went_and_another_came_and_after_an_undo(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site

    def clusters_after_a_query() -> dict[str, int]:
        service.clustering.rests.clear()
        people(service, name)
        settled(service)
        unknown = service.sites.get(name).state.unknown
        assert unknown is not None
        return {first: int((unknown.firsts == first).sum()) for first in np.unique(unknown.firsts).tolist()}

    assert sorted(clusters_after_a_query().values()) == [3, 7]
    send(app, Call("DELETE", f"/gallery/{ids[7]}", {}))
    enroll(service, name, UNKNOWN, 21)  # as many items as before
    assert sorted(clusters_after_a_query().values()) == [2, 8]
    named = send(app, calls.name_cluster(name, ids[0], "bea", None, None))
    assert sorted(clusters_after_a_query().values()) == [2]
    send(app, calls.undo(named["entry"]))
    assert sorted(clusters_after_a_query().values()) == [2, 8]


def test_after_clusters_were_made_by_a_query_there_is_a_rest_ten_times_as_long(
    service: Service, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = site
    grouped = Clustering.grouped

    def slowly(self: Clustering, *given: Any) -> Any:
        time.sleep(0.2)
        return grouped(self, *given)

    monkeypatch.setattr(Clustering, "grouped", slowly)
    people(service, name)
    settled(service)
    assert 1.5 < service.clustering.rests[name][1] - time.monotonic() < 20


def test_who_is_named_or_erased_since_is_in_no_cluster(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    group(service, name)
    rest(service, name)  # these clusters stay
    send(app, calls.update(ids[0], {"identity": "bea"}, None, None))
    send(app, Call("DELETE", f"/gallery/{ids[1]}", {}))
    found = people(service, name)
    assert rows(found[:2]) in ([(None, ids[2], 5), ("bea", None, 1)], [("bea", None, 1), (None, ids[2], 5)])
    send(app, Call("DELETE", f"/gallery/{ids[7]}", {}))
    send(app, calls.update(ids[8], {"identity": "bea"}, None, None))
    assert rows(people(service, name, OTHER)[:2])[1:] in ([(None, None, 1)], [("bea", None, 2)])
    assert {p.cluster for p in people(service, name, OTHER) if p.items[0].item.id == ids[9]} == {None}


def test_the_name_of_a_cluster_whose_oldest_items_are_gone_is_the_next_one(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    group(service, name)
    rest(service, name)
    for item in ids[:4]:  # more than are looked at first
        send(app, Call("DELETE", f"/gallery/{item}", {}))
    assert rows(people(service, name)[:1]) == [(None, ids[4], 3)]


def test_an_ignored_cluster_is_a_hidden_person(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    group(service, name)
    send(app, calls.name_cluster(name, ids[0], "the dummy", None, None))
    send(app, calls.person("hide", name, "the dummy", hidden=True))
    assert not any(match.item.id in ids[:7] for p in people(service, name) for match in p.items)
    assert people(service, name, include_hidden=True)[0].identity == "the dummy"


def test_clusters_of_another_state_are_never_used(
    service: Service, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = site
    live = service.sites.get(name)
    make = clustering.group

    def while_swapped(*given: Any) -> Any:
        version = dataclasses.replace(live.state.version, version=live.state.version.version + 1)
        live.state = dataclasses.replace(live.state, version=version, unknown=None)
        return make(*given)

    monkeypatch.setattr(clustering, "group", while_swapped)
    group(service, name)
    assert live.state.unknown is None
    monkeypatch.setattr(clustering, "group", make)
    people(service, name)
    settled(service)
    assert live.state.unknown is not None


def test_a_new_version_does_not_wait_until_the_clusters_of_the_one_before_have_rested(
    service: Service, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    group(service, name)
    rest(service, name)
    live = service.sites.get(name)
    version = dataclasses.replace(live.state.version, version=live.state.version.version + 1)
    live.state = dataclasses.replace(live.state, version=version, unknown=None)
    people(service, name)
    settled(service)
    assert people(service, name)[0].cluster == ids[0]


def test_an_item_that_is_compared_otherwise_leaves_its_cluster(
    service: Service, app: FastAPI, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ids = site
    group(service, name)
    rest(service, name)
    send(app, calls.update(ids[1], {"camera": "gate"}, None, None))
    assert {p.cluster for p in people(service, name) if p.items[0].item.id == ids[1]} == {None}
    service.clustering.rests.clear()
    make = clustering.group

    def while_moved(*given: Any) -> Any:
        made = make(*given)
        send(app, calls.update(ids[2], {"camera": "gate"}, None, None))
        return made

    monkeypatch.setattr(clustering, "group", while_moved)
    group(service, name)
    unknown = service.sites.get(name).state.unknown
    assert unknown is not None
    # the clusters before, which lack what has moved; not those that came too late
    assert unknown.changes < service.sites.get(name).changes
    monkeypatch.setattr(clustering, "group", make)
    group(service, name)
    assert people(service, name)[0].cluster == ids[0]


def test_clusters_by_a_threshold_of_the_caller_are_not_those_of_answers(
    service: Service, site: tuple[str, list[str]]
) -> None:
    name, _ = site
    asyncio.run(service.clustering.page(name, None, 1, 0.99))
    assert service.sites.get(name).state.unknown is None


def test_a_new_version_gets_clusters_before_anybody_asks(
    service: Service, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    service.schedule.run_due()
    settled(service)
    assert people(service, name)[0].cluster == ids[0]


def test_http_grpc_and_the_client_name_the_same_clusters(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    group(service, name)
    fields = {"site": name, "group_by": "identity"}
    files = {"images": ("a.png", view(UNKNOWN, 99), "image/png")}
    body = send(app, Call("POST", "/query", {"data": fields, "files": files}))
    answer = values.answer(json.loads(json.dumps(body)))
    with served(service, required=False) as channel:
        request = pb.QueryRequest(site=name, images=[view(UNKNOWN, 99)], group_by="identity")
        message = rpc.GalleryStub(channel).Query(request, timeout=20)
    assert answer.people is not None
    assert [person.cluster or "" for person in answer.people] == [person.cluster for person in message.people]
    assert answer.people[0].cluster == ids[0]
    assert send(app, calls.cluster(name, ids[0], None, None, 9))["cluster"]["items"] == 7


def test_clusters_are_looked_up_as_in_a_dictionary() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 40):
        seqs = np.sort(rng.choice(200, count, replace=False))
        labels = rng.integers(0, 7, count)
        members = [seqs[labels == label] for label in np.unique(labels)]
        known = UnknownPeople.of_members(members, 0.5, 200)
        expected = {int(seq): int(each[0]) for each in members for seq in each}
        assert known.cluster_of(range(-1, 201)) == expected
        assert [known.members(int(each[0])).tolist() for each in members] == [
            each.tolist() for each in members
        ]
        left = {seq: first for seq, first in expected.items() if seq % 3}
        without = known.without([seq for seq in range(200) if not seq % 3])
        assert (without.cluster_of(range(200)), without.changes) == (left, 200)


def test_people_are_counted_by_the_cosine_that_their_number_asks_for() -> None:
    vectors, _ = people_of(30, 5, 0.75)

    def floor_among(count: int) -> float:
        return least_cosine(15.0, -6.0 - float(np.log(count)))

    def found(floor: float) -> int:
        clusters = clusters_of(vectors, floor).tolist()
        return len(set(clusters) - {-1}) + clusters.count(-1)

    expected = [len(vectors)]
    for _ in range(3):
        expected.append(found(floor_among(expected[-1])))
    assert count_people(vectors, floor_among) == expected[-1] < expected[1] < len(vectors)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with 40 people at two cameras of `lobby`, and 48 pictures of 12 without a name."""
    folder = tmp_path_factory.mktemp("counted")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    enroll_labelled(opened)
    for person in range(2000, 2012):
        enroll(opened, "lobby", person, 0, 1, 2, 3)
    yield opened
    opened.close()


def counted(service: Service) -> int:
    """The people that a calibration counts."""
    measured = asyncio.run(service.calibrating.calibrate("lobby")).measured
    assert measured is not None
    return measured.gallery_people


def test_a_calibration_counts_a_cluster_as_one_person(labelled: Service) -> None:
    assert counted(labelled) == PEOPLE + 12


def test_of_too_many_unnamed_items_the_newest_are_counted_and_speak_for_the_others(
    labelled: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.counting.MOST_COUNTED", 24)
    assert counted(labelled) == PEOPLE + 12


def test_a_restart_finds_unknown_people_without_being_asked(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path)
    first = open_tiny(bundle, tmp_path / "data")
    ids = enroll(first, "lobby", UNKNOWN, 0, 1, 2)
    first.close()
    again = open_tiny(bundle, tmp_path / "data")
    again.schedule.run_due()
    settled(again)
    assert rows(people(again, "lobby")) == [(None, ids[0], 3)]
    again.close()
