"""`rerank` of a query: the nearest items in the order that the offline algorithm gives them, and scores as
they are without it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resight_client import calls, values

import server.query
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.nearest_reranking import K1, K2, WEIGHT, rerank_nearest
from reid.reranking import rerank
from server.auth import Auth
from server.errors import BadRequest
from server.gallery.filters import AnyOf, ItemFilter
from server.gallery.records import NewItem
from server.http.app import create_app
from server.people import Match
from server.service import Service
from tests.grpc_here import served
from tests.tiny import COLUMNS, ROWS, make_tiny_bundle, open_tiny, png_of

SITE, ITEMS, PEOPLE = "lobby", 60, 12
NEAREST = 30  # as many are re-ranked here, so that some items lie behind them


def crop(person: int, seed: int) -> bytes:
    """A picture of a person: their colours, and some of its own."""
    colours = np.random.default_rng(person).integers(60, 196, (ROWS, COLUMNS, 3))
    own = np.random.default_rng(1000 + seed).normal(0, 40, colours.shape)
    return png_of(np.clip(colours + own, 0, 255).astype(np.uint8))


QUERY = crop(3, 99)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose site holds several crops of each person."""
    folder = tmp_path_factory.mktemp("rerank")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    images = [crop(n % PEOPLE, n) for n in range(ITEMS)]
    records = [NewItem(f"c{n % 3}", f"p{n % PEOPLE}", None, {}) for n in range(ITEMS)]
    asyncio.run(opened.enrolling.enroll(SITE, images, records))
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.query, "_RERANKED", NEAREST)


def asked(service: Service, **options: Any) -> list[Match]:
    """The matches of the query."""
    return asyncio.run(service.querying.query(SITE, [QUERY], **options)).matches


def expected(service: Service, plain: list[Match]) -> list[str]:
    """Ids in the order of the offline algorithm among the nearest of a plain ranking, then the others."""
    index = service.sites.get(SITE).state.index
    _, vectors = index.vectors(np.array([match.item.seq for match in plain[:NEAREST]]))
    query = asyncio.run(service.vectoring.embed(SITE, [QUERY], [None])).vectors[0]
    distances = rerank(np.asarray(query, np.float32)[None], vectors, K1, K2, WEIGHT)[0]
    order = np.argsort(distances, kind="stable").tolist()
    return [plain[row].item.id for row in [*order, *range(NEAREST, len(plain))]]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(21, 200), st.sampled_from([(20, 6), (5, 1), (7, 3)]))
def test_one_query_is_reranked_as_the_offline_algorithm_does(
    seed: int, count: int, k: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(7, 16))[rng.integers(0, 7, count + 1)] + 0.6 * rng.normal(size=(count + 1, 16))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    assert rerank_nearest(x[0], x[1:], *k) == pytest.approx(rerank(x[:1], x[1:], *k)[0], abs=1e-5)


def test_fewer_items_than_a_neighbourhood_are_reranked_too() -> None:
    x = np.random.default_rng(0).normal(size=(9, 16))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    for count in range(9):
        distances = rerank_nearest(x[0], x[1 : 1 + count])
        assert distances.shape == (count,)
        assert np.isfinite(distances).all()
    assert rerank_nearest(x[0], x[1:]) == pytest.approx(rerank(x[:1], x[1:], 8, 6)[0], abs=1e-5)


def test_the_nearest_are_reranked_and_the_others_keep_their_places(service: Service) -> None:
    plain, reranked = asked(service, top_k=ITEMS), asked(service, top_k=ITEMS, rerank=True)
    ids = expected(service, plain)
    assert [match.item.id for match in reranked] == ids
    assert ids != [match.item.id for match in plain]
    assert [match.rank for match in reranked] == list(range(1, ITEMS + 1))
    scores = {match.item.id: match.score for match in plain}
    assert all(scores[match.item.id] == match.score for match in reranked)
    for top_k in (1, 5, NEAREST, NEAREST + 7):
        assert [match.item.id for match in asked(service, top_k=top_k, rerank=True)] == ids[:top_k]


def test_a_threshold_takes_items_out_of_the_reranked_order_and_changes_nothing_else(service: Service) -> None:
    whole = asked(service, top_k=ITEMS, rerank=True)
    threshold = sorted(match.score for match in whole)[-10]
    ids = [match.item.id for match in whole if match.score >= threshold]
    assert len(ids) == 10
    assert [m.item.id for m in asked(service, top_k=ITEMS, rerank=True, threshold=threshold)] == ids
    assert [m.item.id for m in asked(service, top_k=4, rerank=True, threshold=threshold)] == ids[:4]


def test_a_filter_says_among_whom_neighbours_are_looked_for(service: Service) -> None:
    where = ItemFilter((("camera", AnyOf(("c0", "c1"))),))
    plain = asked(service, top_k=ITEMS, where=where)
    assert {match.item.camera for match in plain} == {"c0", "c1"}
    reranked = asked(service, top_k=ITEMS, where=where, rerank=True)
    assert [match.item.id for match in reranked] == expected(service, plain)


def test_an_enrolled_item_is_no_match_of_its_own_reranked_query(service: Service) -> None:
    item = asked(service)[0].item
    answer = asyncio.run(service.querying.query(SITE, item_id=item.id, top_k=ITEMS, rerank=True))
    assert item.id not in {match.item.id for match in answer.matches}
    assert len(answer.matches) == ITEMS - 1


def test_people_are_not_reranked(service: Service) -> None:
    with pytest.raises(BadRequest, match="rerank is for items and group_by for people"):
        asked(service, rerank=True, group_by="identity")


def test_both_protocols_and_the_client_rerank_on_request_alone(service: Service) -> None:
    app = create_app(service, Auth(service.store, required=False))
    plain, ids = ([match.item.id for match in asked(service, rerank=flag)] for flag in (False, True))
    assert plain != ids

    async def by_http(flag: bool) -> list[str]:
        call = calls.query(SITE, QUERY, None, 10, None, None, False, None, None, None, False, rerank=flag)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            response = await client.request(call.method, call.path, **call.options)
        return [match.id for match in values.answer(response.json()).matches]

    assert asyncio.run(by_http(False)) == plain
    assert asyncio.run(by_http(True)) == ids
    with served(service, required=False) as channel:
        for flag, truth in ((False, plain), (True, ids)):
            request = pb.QueryRequest(site=SITE, images=[QUERY], rerank=flag)
            matches = rpc.GalleryStub(channel).Query(request, timeout=20).matches
            assert [match.item.id for match in matches] == truth
