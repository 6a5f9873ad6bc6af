"""A listing with vectors: what is stored of every item, in pages that a gRPC client takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from resight_client import AsyncClient, Client, Item
from typer.testing import CliRunner

from benchmarks.serving import ServerProcess
from cli.app import app
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server import items
from server.gallery import embeddings
from server.gallery.filters import ItemFilter
from server.gallery.records import NewItem
from server.service import Service
from tests.tiny import make_tiny_bundle, open_tiny, picture, tiny_server

SITE = "listed"
CROPS = [picture(number) for number in range(5)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with five items."""
    with tiny_server(tmp_path_factory.mktemp("listed")) as running:
        with Client(running.url) as client:
            client.enroll(SITE, CROPS, camera="door", metadata={"n": 1})
        yield running


def test_each_item_is_listed_with_the_vector_that_is_stored(server: ServerProcess, client: Client) -> None:
    embedded = client.embed(SITE, CROPS, camera="door")
    stored = np.array(embedded.vectors, np.float16).tolist()
    page = client.items(SITE, with_vectors=True, without_metadata=True)
    assert [item.vector for item in page.items] == stored
    assert {item.raw_space_id for item in page.items} == {embedded.raw_space_id}
    assert {json.dumps(item.metadata) for item in page.items} == {"{}"}
    plain = client.items(SITE).items
    assert [(item.vector, item.raw_space_id) for item in plain] == [(None, None)] * 5

    async def every() -> list[Item]:
        async with AsyncClient(server.url) as opened:
            return [item async for item in opened.iter_items(SITE, page_size=2, with_vectors=True)]

    walked = list(client.iter_items(SITE, page_size=2, with_vectors=True))
    assert asyncio.run(every()) == walked
    assert [item.vector for item in walked] == stored
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        gallery = rpc.GalleryStub(channel)
        over_grpc = gallery.List(pb.ListRequest(site=SITE, with_vectors=True))
        without = gallery.List(pb.ListRequest(site=SITE))
    assert [list(item.vector.values) for item in over_grpc.items] == stored
    assert over_grpc.raw_space_id == embedded.raw_space_id
    assert without.raw_space_id == "" and not any(item.HasField("vector") for item in without.items)


def test_a_listed_vector_asks_as_its_item_does(client: Client) -> None:
    item = client.items(SITE, with_vectors=True).items[2]
    assert item.vector is not None
    options = {"query_camera": item.camera, "top_k": 5}
    answer = client.query(SITE, vectors=item.vector, raw_space_id=item.raw_space_id, **options)
    by_item = client.query(SITE, item_id=item.id, top_k=5).matches
    assert answer.matches[0].id == item.id
    # half precision leaves a length that is not quite one, which an item as a query keeps
    expected = [(m.id, pytest.approx(m.score, abs=1e-3)) for m in by_item]
    assert [(m.id, m.score) for m in answer.matches[1:]] == expected


def test_the_command_line_lists_vectors_as_json(server: ServerProcess, client: Client) -> None:
    words = ["list", "--site", SITE, "--json", "--with-vectors", "--limit", "2", "--server", server.url]
    listed = json.loads(CliRunner().invoke(app, words).output)["items"]
    expected = client.items(SITE, with_vectors=True, limit=2).items
    assert [item["vector"] for item in listed] == [item.vector for item in expected]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The service in this process, with five items."""
    opened = open_tiny(make_tiny_bundle(tmp_path), tmp_path / "data")
    asyncio.run(opened.enrolling.enroll(SITE, CROPS, [NewItem()] * 5))
    yield opened
    opened.close()


def listed(service: Service, cursor: str | None = None) -> items.Page:
    """A page with vectors."""
    return asyncio.run(
        service.items.page(SITE, ItemFilter(), cursor, 1000, with_vectors=True, actor="reader")
    )


def test_a_page_ends_before_its_vectors_are_longer_than_a_message(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 4 * items.MOST_NUMBERS < 4 * 2**20 - 2**20  # with room for labels
    monkeypatch.setattr(items, "MOST_NUMBERS", 2 * 24 + 23)
    sizes, seen, cursor = [], [], None
    while True:
        page = listed(service, cursor)
        sizes.append(len(page.vectors or ()))
        seen += [item.id for item in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert sizes == [2, 2, 1] and len(set(seen)) == 5


def test_who_reads_vectors_stands_in_the_audit_log(service: Service) -> None:
    asyncio.run(service.items.page(SITE, ItemFilter(), None, 1000))
    assert service.store.audit.lines() == []
    listed(service)
    (line,) = service.store.audit.lines()
    assert (line["actor"], line["action"], line["site"]) == ("reader", "read-vectors", SITE)
    assert line["detail"] == {"items": 5}


def test_an_item_that_has_lost_its_embedding_is_listed_without_a_vector(service: Service) -> None:
    seqs = service.store.items.seqs(SITE).tolist()
    with service.store.database.write() as db:
        embeddings.drop(db, [seqs[1]], [])
    page = listed(service)
    assert page.vectors is not None
    assert [vector is None for vector in page.vectors] == [False, True, False, False, False]
