"""Maps of crops: where the items of a person or of a cluster lie to each other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from fastapi import FastAPI
from resight_client import corrected as parse
from resight_client import corrections as calls

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.plane import plane_of
from server import maps
from server.auth import Auth
from server.gallery.records import NewItem
from server.http.app import create_app
from server.service import Service
from tests.grpc_here import refusal, served
from tests.test_clusters import people_of, send, view
from tests.tiny import make_tiny_bundle, open_tiny

_numbers = itertools.count()
NEITHER_OR_BOTH = "send either identity or cluster: a person's name, or an item of a cluster"


@pytest.mark.parametrize(("crops", "dim"), [(2, 32), (3, 2), (40, 7), (9, 256), (300, 24)])
def test_places_are_those_of_the_two_first_principal_axes(crops: int, dim: int) -> None:
    rng = np.random.default_rng(crops)
    vectors = rng.standard_normal((crops, dim)) * np.linspace(3, 0.2, dim)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    places, shown = plane_of(vectors)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = np.zeros((crops, 2))
    expected[:, : min(2, len(values))] = (left * values)[:, :2]
    expected[:, values[:2] < 1e-6] = 0
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=2e-3)
    np.testing.assert_allclose(shown, (values**2 / (values**2).sum())[:2], atol=1e-3)
    for axis in places.T:
        assert axis[np.argmax(np.abs(axis))] >= 0
    np.testing.assert_array_equal(plane_of(vectors)[0], places)


@pytest.mark.parametrize("crops", [0, 1, 4])
def test_crops_that_do_not_differ_lie_in_one_place(crops: int) -> None:
    places, shown = plane_of(np.tile(np.eye(1, 8, dtype=np.float32), (crops, 1)))
    assert places.tolist() == [[0, 0]] * crops
    assert shown.tolist() == [0, 0]


def test_two_people_are_two_groups_on_a_map() -> None:
    vectors, people = people_of(2, 30, 0.5)
    places, _ = plane_of(vectors)
    assert len(set((places[:, 0] > 0)[people == 0].tolist())) == 1
    assert (places[people == 0, 0] > 0).all() != (places[people == 1, 0] > 0).all()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all tests here; each uses a site of its own."""
    folder = tmp_path_factory.mktemp("maps")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The HTTP application over the service, without keys."""
    return create_app(service, Auth(service.store, required=False))


@pytest.fixture
def site(service: Service) -> tuple[str, list[str]]:
    """A site where ada has five crops of one person and two of another, and nobody has named three of a third
    one; and the ids of the items, in this order."""
    name = f"site-{next(_numbers)}"
    shown = (
        [(1, n, "ada") for n in range(5)]
        + [(2, n, "ada") for n in range(2)]
        + [(3, n, None) for n in range(3)]
    )
    records = [NewItem(("door", "hall")[n % 2], identity) for _, n, identity in shown]
    images = [view(person, n) for person, n, _ in shown]
    return name, [item.id for item in asyncio.run(service.enrolling.enroll(name, images, records)).items]


def drawn(app: FastAPI, name: str, identity: str | None = None, cluster: str | None = None) -> parse.CropMap:
    """A map, through the whole HTTP application."""
    return parse.crop_map(send(app, calls.crop_map(name, identity, cluster)))


def test_crops_of_somebody_else_lie_apart_on_the_map_of_a_person(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    made = drawn(app, name, "ada")
    assert [point.item for point in made.points] == ids[:7]
    assert [point.camera for point in made.points[:2]] == ["door", "hall"]
    places = np.array([(point.x, point.y) for point in made.points])
    between = np.linalg.norm(places[:5].mean(axis=0) - places[5:].mean(axis=0))
    assert between > 4 * np.linalg.norm(places[:5] - places[:5].mean(axis=0), axis=1).max()
    assert (made.site, made.items) == (name, 7)
    assert made.shown[0] > 0.8
    assert made.shown[0] >= made.shown[1] >= 0


def test_a_map_holds_what_is_there_by_now(
    app: FastAPI, service: Service, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    assert [point.item for point in drawn(app, name, cluster=ids[8]).points] == ids[7:]
    send(app, calls.person("split", name, "ada", items=ids[5:7], to="bea"))
    assert [point.item for point in drawn(app, name, "ada").points] == ids[:5]
    asyncio.run(service.items.erase_item(ids[6], "somebody"))
    assert [point.item for point in drawn(app, name, "bea").points] == ids[5:6]
    send(app, calls.name_cluster(name, ids[7], "cy", None, None))
    answer = send(app, calls.crop_map(name, None, ids[8]), 404)
    assert "is in no cluster" in answer["detail"]


def test_of_very_many_crops_some_are_drawn_and_all_are_counted(
    app: FastAPI, site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ids = site
    monkeypatch.setattr(maps, "MOST_POINTS", 3)
    made = drawn(app, name, "ada")
    assert [point.item for point in made.points] == [ids[0], ids[3], ids[6]]
    assert made.items == 7


def test_a_map_of_nobody_and_of_nothing_is_refused(app: FastAPI, site: tuple[str, list[str]]) -> None:
    name, ids = site
    for identity, cluster in ((None, None), ("ada", ids[7])):
        assert NEITHER_OR_BOTH in send(app, calls.crop_map(name, identity, cluster), 400)["detail"]
    assert "nobody called 'zoe'" in send(app, calls.crop_map(name, "zoe", None), 404)["detail"]
    assert "'nowhere'" in send(app, calls.crop_map("nowhere", "ada", None), 404)["detail"]


def test_both_protocols_draw_the_same_map(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    with served(service, required=False) as channel:
        stub = rpc.CorrectionsStub(channel)
        for who in ({"identity": "ada"}, {"cluster": ids[9]}):
            answer = stub.GetMap(pb.GetMapRequest(site=name, **who), timeout=30)
            made = drawn(app, name, **who)
            points = [(each.item, each.camera, each.x, each.y) for each in answer.points]
            assert points == [(each.item, each.camera, each.x, each.y) for each in made.points]
            assert (answer.site, answer.items, list(answer.shown)) == (name, made.items, made.shown)
        status, sentence = refusal(stub.GetMap, pb.GetMapRequest(site=name))
        assert status == grpc.StatusCode.INVALID_ARGUMENT
        assert NEITHER_OR_BOTH in sentence
