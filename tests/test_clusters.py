"""Unknown people: which items look like one person, and naming them."""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from resight_client import corrected as parse
from resight_client import corrections as calls
from resight_client.calls import Call

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.clusters import AVERAGED, NEIGHBOURS, REACH, clusters_of
from reid.reciprocal import close_pairs
from reid.reranking import jaccard_distances
from server import clustering
from server.auth import Auth
from server.clustering import Clustering, floor_of
from server.gallery.records import NewItem, Version
from server.http.app import create_app
from server.service import Service
from server.sites import SiteState
from tests.grpc_here import served
from tests.tiny import COLUMNS, ROWS, make_tiny_bundle, open_tiny, png_of

_numbers = itertools.count()


def people_of(count: int, crops: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 [N,32], unit length, and int64 [N]: crops around one direction a person."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(count), crops)
    vectors = rng.standard_normal((count, 32))[people] + spread * rng.standard_normal((len(people), 32))
    order = rng.permutation(len(people))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[order].astype(np.float32), people[order]


def components_of(linked: np.ndarray) -> np.ndarray:
    """Clusters of a whole matrix of links, by spreading the lowest row until nothing changes."""
    labels = np.arange(len(linked))
    while True:
        spread = np.array([min(labels[row], *labels[linked[row]], len(linked)) for row in range(len(linked))])
        if (spread == labels).all():
            break
        labels = spread
    numbers: dict[int, int] = {}
    for label in labels.tolist():
        if (labels == label).sum() > 1:
            numbers.setdefault(label, len(numbers))
    return np.array([numbers.get(label, -1) for label in labels.tolist()])


@pytest.mark.parametrize("reach", [0.2, 0.45, 0.7])
def test_close_pairs_are_those_of_the_whole_matrix_of_distances(reach: float) -> None:
    vectors, _ = people_of(12, 6, 0.7)
    distances = jaccard_distances(vectors, 10, 3)
    expected = [(i, j) for i, j in zip(*np.nonzero(distances <= reach), strict=True) if i < j]
    found = sorted((int(i), int(j)) for i, j in close_pairs(vectors, 10, 3, reach))
    assert found == expected
    assert expected


def test_clusters_hang_together_by_shared_neighbours_and_by_a_least_cosine() -> None:
    vectors, _ = people_of(15, 6, 0.75, seed=3)
    near = jaccard_distances(vectors, NEIGHBOURS, AVERAGED) <= REACH
    cosines = vectors @ vectors.T
    for floor in (-1.0, 0.6, 0.75):
        expected = components_of(near & (cosines >= floor))
        assert clusters_of(vectors, floor).tolist() == expected.tolist()
    assert len(set(expected)) > 2


def test_people_are_told_apart_and_strangers_stand_alone() -> None:
    vectors, people = people_of(8, 5, 0.2)
    clusters = clusters_of(vectors, 0.5)
    pairs = {(int(cluster), int(person)) for cluster, person in zip(clusters, people, strict=True)}
    assert len(pairs) == 8
    assert {cluster for cluster, _ in pairs} == set(range(8))
    firsts = [int(np.flatnonzero(clusters == number)[0]) for number in range(8)]
    assert firsts == sorted(firsts)  # numbered by their first crops
    strangers, _ = people_of(40, 1, 0.2, seed=5)
    assert (clusters_of(strangers, 0.6) == -1).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_few_crops_are_grouped_too(count: int) -> None:
    same = np.tile(np.eye(1, 8, dtype=np.float32), (count, 1))
    assert clusters_of(same, 0.5).tolist() == ([-1] * count if count < 2 else [0] * count)
    assert clusters_of(np.eye(count, 8, dtype=np.float32), 0.5).tolist() == [-1] * count


@functools.cache
def view(person: int, number: int) -> bytes:
    """A picture of a person, a little different each time."""
    colours = np.random.default_rng(person).integers(0, 256, (ROWS, COLUMNS, 3))
    moved = colours + np.random.default_rng(1000 + number).integers(-9, 10, colours.shape)
    return png_of(np.clip(moved, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all tests here; each uses a site of its own."""
    folder = tmp_path_factory.mktemp("clusters")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The HTTP application over the service, without keys."""
    return create_app(service, Auth(service.store, required=False))


@pytest.fixture
def site(service: Service) -> tuple[str, list[str]]:
    """A site with 4, 3 and 2 pictures of three people without a name, one of a stranger, and two of ada, who
    looks like the first of them; and the ids of the items, in this order."""
    name = f"site-{next(_numbers)}"
    shown: list[tuple[int, int, str | None]] = []
    for person, pictures in ((1, 4), (2, 3), (3, 2), (4, 1)):
        shown += [(person, n, None) for n in range(pictures)]
    shown += [(1, 7, "ada"), (1, 8, "ada")]
    records = [
        NewItem(("door", "hall")[n % 2], identity, 1000.0 + row, {})
        for row, (_, n, identity) in enumerate(shown)
    ]
    images = [view(person, n) for person, n, _ in shown]
    return name, [item.id for item in asyncio.run(service.enrolling.enroll(name, images, records)).items]


def send(app: FastAPI, call: Call, status: int = 200) -> Any:
    """What a call of the client answers, through the whole HTTP application."""

    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(call.method, call.path, **call.options)

    response = asyncio.run(answer())
    assert response.status_code == status, response.text
    return response.json()


def listed(app: FastAPI, name: str, **values: Any) -> parse.ClusterPage:
    """A page of clusters."""
    options = {"threshold": None, "cursor": None, "limit": 50} | values
    return parse.clusters(send(app, calls.clusters(name, **options)))


def test_clusters_are_listed_the_largest_first_each_by_its_oldest_item(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    page = listed(app, name)
    assert [(each.cluster, each.items) for each in page.clusters] == [(ids[0], 4), (ids[4], 3), (ids[7], 2)]
    assert (page.unnamed, page.looked_at, page.guess, page.cursor) == (10, 10, True, None)
    first = page.clusters[0]
    assert first.cameras == ["door", "hall"]
    assert (first.first_seen, first.last_seen) == ("1970-01-01T00:16:40Z", "1970-01-01T00:16:43Z")
    assert first.feature in ids[:4]
    assert first.nearest is not None
    assert first.nearest.identity == "ada"
    assert first.nearest.score > 0.95
    other = page.clusters[1].nearest
    assert other is not None
    assert other.score < 0.5


def test_pages_of_clusters_and_of_their_items_go_on_where_they_ended(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    first = listed(app, name, limit=2)
    second = listed(app, name, limit=2, cursor=first.cursor)
    assert [each.cluster for each in (*first.clusters, *second.clusters)] == [ids[0], ids[4], ids[7]]
    assert second.cursor is None
    page = parse.cluster(send(app, calls.cluster(name, ids[2], None, None, 3)))
    assert [item.id for item in page.items] == ids[:3]
    rest = parse.cluster(send(app, calls.cluster(name, ids[2], None, page.cursor, 3)))
    assert ([item.id for item in rest.items], rest.cursor) == (ids[3:4], None)
    assert rest.cluster == page.cluster


def test_a_cluster_is_named_as_a_whole_and_the_journal_undoes_it(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    named = parse.corrected(send(app, calls.name_cluster(name, ids[5], "bea", 3, None)))
    assert named.items == 3
    assert [each.cluster for each in listed(app, name).clusters] == [ids[0], ids[7]]
    entry = parse.entry(send(app, calls.entry(named.entry or 0)))
    assert (entry.action, {change.after for change in entry.changes}) == ("name", {"bea"})
    send(app, calls.undo(named.entry or 0))
    assert [each.cluster for each in listed(app, name).clusters] == [ids[0], ids[4], ids[7]]


def test_who_saw_another_cluster_or_names_an_item_alone_is_told(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    problem = send(app, calls.name_cluster(name, ids[0], "cy", 3, None), 409)
    assert (problem["items"], "4 items by now" in problem["detail"]) == (4, True)
    for item in (ids[9], ids[10]):
        assert (
            "is in no cluster" in send(app, calls.name_cluster(name, item, "cy", None, None), 404)["detail"]
        )
        assert "is in no cluster" in send(app, calls.cluster(name, item, None, None, 5), 404)["detail"]
    send(app, calls.cluster(name, "0" * 32, None, None, 5), 404)
    assert "list from the beginning" in send(app, calls.clusters(name, None, ids[9], 5), 400)["detail"]
    for limit in (0, 201):
        assert "limit" in send(app, calls.clusters(name, None, None, limit), 400)["detail"]
    assert "threshold" in send(app, calls.clusters(name, 3.0, None, 5), 400)["detail"]
    assert [each.items for each in listed(app, name).clusters] == [4, 3, 2]  # nothing was changed


def test_an_item_that_was_named_meanwhile_stops_the_naming_of_its_cluster(
    service: Service, app: FastAPI, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ids = site
    seqs_of = Clustering._seqs

    def slowly(self: Clustering, *arguments: Any) -> np.ndarray:
        seqs = seqs_of(self, *arguments)
        send(app, calls.update(ids[1], {"identity": "dan"}, None, None))
        return seqs

    monkeypatch.setattr(Clustering, "_seqs", slowly)
    problem = send(app, calls.name_cluster(name, ids[0], "bea", None, None), 409)
    assert "has been named 'dan' meanwhile" in problem["detail"]
    kept = service.store.items.get(ids[0])
    assert kept is not None
    assert kept.identity is None


def test_a_denied_name_is_not_given_by_a_cluster(app: FastAPI, site: tuple[str, list[str]]) -> None:
    name, ids = site
    send(app, calls.person("different", name, "ada", item=ids[2]))
    assert "ada" in send(app, calls.name_cluster(name, ids[0], "ada", None, None), 409)["detail"]


def test_what_is_enrolled_erased_or_named_shows_at_once(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    listed(app, name)
    send(app, Call("DELETE", f"/gallery/{ids[0]}", {}))
    enrolled = asyncio.run(service.enrolling.enroll(name, [view(4, 1)], [NewItem("door", None, None, {})]))
    clusters = {each.cluster: each.items for each in listed(app, name).clusters}
    assert clusters == {ids[1]: 3, ids[4]: 3, ids[7]: 2, ids[9]: 2}
    page = parse.cluster(send(app, calls.cluster(name, enrolled.items[0].id, None, None, 9)))
    assert page.cluster.cluster == ids[9]  # a new item of a stranger does not rename the cluster
    more = [view(3, number) for number in (5, 6, 7)]
    asyncio.run(service.enrolling.enroll(name, more, [NewItem("door", None, None, {})] * 3))
    largest = listed(app, name).clusters[0]
    assert (largest.cluster, largest.items) == (ids[7], 5)


def test_clusters_are_made_again_only_where_an_item_came_or_a_part_of_one_went(
    service: Service, app: FastAPI, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ids = site
    made: list[int] = []
    of_vectors = clusters_of

    def counted(vectors: np.ndarray, floor: float) -> np.ndarray:
        made.append(len(vectors))
        return of_vectors(vectors, floor)

    def after(call: Call | None) -> tuple[list[str], list[int]]:
        del made[:]
        if call is not None:
            send(app, call)
        return [each.cluster for each in listed(app, name).clusters], made

    monkeypatch.setattr("server.clustering.clusters_of", counted)
    assert after(None) == ([ids[0], ids[4], ids[7]], [10])
    assert after(calls.name_cluster(name, ids[4], "bea", None, None)) == ([ids[0], ids[7]], [])
    assert after(calls.update(ids[9], {"identity": "stranger"}, None, None)) == ([ids[0], ids[7]], [])
    assert after(Call("DELETE", f"/gallery/{ids[8]}", {})) == ([ids[0]], [5])  # one of two went
    assert after(calls.update(ids[0], {"camera": "yard"}, None, None)) == ([ids[0]], [5])
    asyncio.run(service.enrolling.enroll(name, [view(3, 5)], [NewItem("door")]))
    assert after(None) == ([ids[0], ids[7]], [6])


def test_items_that_move_up_among_the_newest_wait_for_the_next_making(
    service: Service, app: FastAPI, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ids = site
    monkeypatch.setattr(clustering, "MOST_GROUPED", 6)  # from ids[4] on
    assert [each.cluster for each in listed(app, name).clusters] == [ids[4], ids[7]]
    send(app, calls.name_cluster(name, ids[4], "bea", None, None))
    assert [each.cluster for each in listed(app, name).clusters] == [ids[7]]
    send(app, calls.update(ids[7], {"camera": "yard"}, None, None))
    assert [each.cluster for each in listed(app, name).clusters] == [ids[1], ids[7]]


def test_hidden_people_are_nobodys_nearest(app: FastAPI, site: tuple[str, list[str]]) -> None:
    name, _ = site
    send(app, calls.person("hide", name, "ada", hidden=True))
    assert {each.nearest for each in listed(app, name).clusters} == {None}


def test_both_protocols_list_and_name_the_same_clusters(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    page = listed(app, name)
    with served(service, required=False) as channel:
        stub = rpc.CorrectionsStub(channel)
        answer = stub.ListClusters(pb.ListClustersRequest(site=name), timeout=30)
        assert (answer.unnamed, answer.looked_at, answer.guess) == (10, 10, True)
        assert answer.threshold == page.threshold
        for one, other in zip(answer.clusters, page.clusters, strict=True):
            assert (one.cluster, one.items, one.feature) == (other.cluster, other.items, other.feature)
            assert other.nearest is not None
            assert (one.nearest.identity, one.nearest.score) == (other.nearest.identity, other.nearest.score)
        members = stub.GetCluster(pb.GetClusterRequest(site=name, item=ids[1], limit=2), timeout=30)
        assert ([item.id for item in members.items], members.cursor) == (ids[:2], ids[1])
        request = pb.NameClusterRequest(site=name, item=ids[1], identity="cy", items=9)
        with pytest.raises(grpc.RpcError) as wrong:
            stub.NameCluster(request, timeout=30)
        assert "you have seen 9" in wrong.value.details()
        request.items = 4
        assert stub.NameCluster(request, timeout=30).items == 4


CALIBRATION = {
    "slope": 15.0,
    "intercept": -11.0,
    "space_id": "space",
    "guess": False,
    "people": 40,
    "error": 0.1,
    "measured_on": "labels of the site",
    "thresholds": {"0.1": 0.6, "0.01": 0.7},
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (0.5869, False)),
        ({"space_id": "another"}, (0.5869, True)),
        ({"guess": True}, (0.5869, True)),
        ({"slope": 1.0, "intercept": 5.0}, (0.3, False)),
        (None, (0.5, True)),
    ],
)
def test_the_threshold_is_where_one_best_match_in_ten_is_right(
    service: Service, changed: dict[str, Any] | None, expected: tuple[float, bool]
) -> None:
    calibration = CALIBRATION | changed if changed is not None else None
    version = Version("s", 1, "p", "space", "space", 4, None, "created", 0.0, calibration=calibration)
    floor, guess = floor_of(SiteState(version, service.sites.indexes.new(4)))
    assert (round(floor, 4), guess) == expected
    if expected[0] == 0.5869:
        assert 1 / (1 + math.exp(-(15 * floor - 11))) == pytest.approx(0.1)
