"""A row that an older version stored and that cannot be read costs its own value, not the answer."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from resight_client import Client

from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.fields import filter_of
from server.gallery.store import Store

People = list[tuple[bytes, str, str]]
OLD = Path(__file__).parent / "fixtures/gallery-schema-1.db"
TOO_EARLY, TOO_LATE, INFINITE = (  # ids of the old gallery's rows that cannot be read
    "65ef346277eb41fe9c7acbbdf8279f29",
    "27fda52366b14021bfa49a7fc43d20a1",
    "15bc1c6f177144efac346c7c900aeb4f",
)
UNREADABLE = [  # what some other row may hold: captured_at, metadata
    (-62135647200.0, "{}"),
    (253402351199.0, '{"n": 1}'),
    (None, '{"k": Infinity, "n": 1}'),
    (None, '{"k": NaN}'),
    (None, '{"k": -Infinity}'),
    (None, '{"k": 1e999}'),
    (None, '{"k": "\\ud800"}'),
    (None, '{"k": '),
    (None, "[1]"),
    (None, "[" * 100_000),
    ("yesterday", "{}"),
    (None, b"\xff\xfe"),
]


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Store]:
    """The old gallery, opened by this version."""
    shutil.copy(OLD, tmp_path / "gallery.db")
    store = Store(tmp_path)
    yield store
    store.close()


def test_an_old_gallery_is_listed_whole(old: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "resight"):
        for _ in range(2):
            items = {item.id: item for item in old.items.page("lobby", filter_of(None), 0, 100)}
            assert len(items) == 8
            assert items[TOO_EARLY].captured_at is items[TOO_LATE].captured_at is None
            assert items[INFINITE].metadata == {"k": None}
            assert old.items.get(TOO_EARLY) == items[TOO_EARLY]
            assert len(old.items.by_seq(list(range(100)))) == 10
    for item in (TOO_EARLY, TOO_LATE, INFINITE):
        assert len([record for record in caplog.records if item in record.getMessage()]) <= 1


@pytest.mark.parametrize("value", ["x'ff'", "CAST(x'ff' AS TEXT)"])
@pytest.mark.parametrize("column", ["camera", "identity", "metadata"])
def test_bytes_that_are_no_text_cost_their_value_and_not_the_answer(
    old: Store, column: str, value: str
) -> None:
    with sqlite3.connect(str(old.database.file)) as db:
        db.execute(f"UPDATE items SET {column} = {value} WHERE id = ?", (TOO_EARLY,))
    items = old.items.page("lobby", filter_of('{"metadata": {"k": {"not": 5}}}'), 0, 100)
    assert len(items) == 8
    for item in items:
        assert isinstance(item.camera, str | None)
        assert isinstance(item.identity, str | None)


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({"metadata": {"n": 3}}, 1),
        ({"metadata": {"n": {"gt": 0}}}, 5),
        ({"metadata": {"n": None}}, 3),
        ({"metadata": {"k": None}}, 8),
        ({"metadata": {"k": {"not": 0}}}, 8),
        ({"metadata": {"k": {"gt": 0}}}, 0),
        ({"captured_at": None}, 3),
        ({"captured_at": {"not": None}}, 5),
        ({"captured_at": {"gte": 0}}, 5),
        ({"captured_at": {"lte": "2100-01-01"}}, 5),
        ({"captured_at": {"not": {"gte": 0}}}, 3),
    ],
    ids=json.dumps,
)
def test_filters_see_what_answers_show(old: Store, where: object, count: int) -> None:
    parsed = filter_of(json.dumps(where))
    assert len(old.items.seqs("lobby", parsed)) == len(old.items.page("lobby", parsed, 0, 100)) == count


@pytest.mark.parametrize(("captured_at", "metadata"), UNREADABLE, ids=lambda value: repr(value)[:24])
def test_every_answer_with_an_unreadable_item_is_given(
    server: ServerProcess, client: Client, people: People, captured_at: object, metadata: str
) -> None:
    site = f"unreadable-{uuid.uuid4().hex[:8]}"
    bad, good = (item.id for item in client.enroll(site, [data for data, _, _ in people[:2]]).items)
    gallery = Path(server.environment["RESIGHT_GALLERY"]) / "gallery.db"
    with sqlite3.connect(gallery, timeout=30) as db:
        values = (captured_at, metadata, bad)
        db.execute("UPDATE items SET captured_at = ?, metadata = ? WHERE id = ?", values)
    db.close()
    assert client.item(bad).captured_at is None
    assert json.dumps(client.item(bad).metadata, allow_nan=False)
    everything = {"metadata": {"k": {"not": 5}}}
    for where in (None, everything, {"captured_at": None}):
        assert [item.id for item in client.items(site, filter=where).items] == [bad, good]
        matches = client.query(site, people[0][0], filter=where).matches
        assert {match.id for match in matches} == {bad, good}
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = rpc.GalleryStub(channel)
        listed = stub.List(pb.ListRequest(site=site, filter_json=json.dumps(everything))).items
        assert [item.id for item in listed] == [bad, good]
        assert not listed[0].HasField("captured_at")
        assert len(stub.Query(pb.QueryRequest(site=site, images=[people[0][0]])).matches) == 2
    assert [match.id for match in client.query(site, item_id=bad).matches] == [good]
    assert server.log.read_text().count(f"item {bad} cannot be read whole") == 1
    assert client.erase_items(site, filter=everything).erased == 2
