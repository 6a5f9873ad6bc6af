"""The store, on SQLite and on PostgreSQL: whole transactions, real erasure, leftovers removed."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from reid.profile import Profile
from server.errors import BadRequest, StartError
from server.fields import filter_of
from server.gallery import tables as t
from server.gallery.records import EnrollRequest, Item, NewItem, Version
from server.gallery.store import Store
from server.job import Job


def version(number: int = 1, space: str = "space-a", parent: int | None = None) -> Version:
    """A version of site `s`."""
    return Version("s", number, f"profile-{space}", space, space, 4, parent, "created", time.time())


@pytest.fixture
def store(place: str | Path) -> Iterator[Store]:
    """A store with one site."""
    opened = Store(place)
    opened.versions.add_site(version())
    yield opened
    opened.close()


def fill(store: Store, n: int, **fields: object) -> list[int]:
    """Enrolls n items with marked bytes; returns their seqs."""
    return [item.seq for item in enroll(store, n, None, **fields)]


def enroll(store: Store, n: int, key: str | None, **fields: object) -> list[Item]:
    """Enrolls n items under an Idempotency-Key."""
    items = [NewItem(**fields) for _ in range(n)]  # type: ignore[arg-type]
    images = [f"marked-image-{i}-".encode() * 50 for i in range(n)]
    request = EnrollRequest(key, "print", {"site": "s"}) if key is not None else None
    return store.items.enroll("s", "space-a", items, images, np.ones((n, 4)), request)


def rows(store: Store, table: sa.Table) -> int:
    """How many rows a table has."""
    with store.database.read() as db:
        return db.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_a_profile_and_a_site_that_are_there_are_not_written_again(store: Store) -> None:
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    profile = Profile("base", {"neck": values})
    assert store.versions.save_profile(profile) == profile.id
    assert store.versions.save_profile(Profile("base", {"neck": values.copy()})) == profile.id
    assert rows(store, t.profiles) == 1
    kept = store.versions.profile(profile.id)
    assert kept is not None
    assert kept.id == profile.id
    before = store.versions.live()
    store.versions.add_site(version(number=7))  # of the site that the store has
    assert store.versions.live() == before
    assert rows(store, t.versions) == 1


def test_an_enroll_is_whole_or_nothing(store: Store) -> None:
    fill(store, 2)
    enroll(store, 1, "key")
    with pytest.raises(sa.exc.IntegrityError):
        enroll(store, 5, "key")
    assert store.items.count("s") == 3
    assert [rows(store, table) for table in (t.items, t.images, t.embeddings)] == [3, 3, 3]


def test_it_survives_reopening(store: Store, place: str | Path) -> None:
    seqs = fill(store, 3, camera="door", metadata={"n": 1.5})
    store.close()
    again = Store(place)
    assert list(again.items.seqs("s")) == seqs
    chunk = next(iter(again.embeddings.of_site("s", "space-a")))
    assert chunk.cameras == ["door"] * 3
    assert chunk.vectors.tolist() == [[1.0] * 4] * 3
    again.close()


def test_seqs_ascend_in_the_order_of_the_request(store: Store) -> None:
    new = [NewItem(metadata={"place": i}) for i in range(1100)]  # more than one statement has room for
    images = [str(i).encode() for i in range(1100)]
    items = store.items.enroll("s", "space-a", new, images, np.arange(4400.0).reshape(1100, 4) % 1024)
    seqs = [item.seq for item in items]
    assert seqs == sorted(seqs)
    kept = store.items.by_seq(seqs)
    assert [kept[seq].metadata["place"] for seq in seqs] == list(range(1100))
    assert store.items.image(seqs[1050]) == b"1050"
    vector = store.embeddings.get(seqs[1050], "space-a")
    assert vector is not None
    assert vector.tolist() == [(4 * 1050 + i) % 1024 for i in range(4)]


def test_enrolls_at_the_same_time_do_not_mix(store: Store) -> None:
    barrier = threading.Barrier(4)

    def one(number: int) -> list[Item]:
        barrier.wait()
        return enroll(store, 50, f"key-{number}", camera=f"c{number}")

    with ThreadPoolExecutor(4) as pool:
        enrolled = list(pool.map(one, range(4)))
    for number, items in enumerate(enrolled):
        seqs = [item.seq for item in items]
        assert seqs == list(store.items.seqs("s", filter_of(json.dumps({"camera": f"c{number}"}))))
        request = store.requests.get(f"key-{number}")
        assert request is not None
        assert request.seqs == seqs


def test_a_seq_beyond_32_bits_is_a_seq_like_any_other(store: Store) -> None:
    fill(store, 1)
    restart = (
        "UPDATE sqlite_sequence SET seq = 3000000000 WHERE name = 'items'"
        if store.database.is_sqlite
        else "ALTER SEQUENCE items_seq_seq RESTART 3000000001"
    )
    with store.database.write() as db:
        db.execute(sa.text(restart))
    (item,) = enroll(store, 1, "key")
    assert item.seq == 3_000_000_001
    assert store.items.by_seq([item.seq])[item.seq].id == item.id
    assert store.embeddings.get(item.seq, "space-a") is not None
    assert store.items.erase([item.seq], "somebody", "s", "item") == 1


def test_a_seq_is_never_used_twice(store: Store) -> None:
    seqs = fill(store, 3)
    store.items.erase(seqs, "somebody", "s", "item")
    assert min(fill(store, 1)) > max(seqs)


@pytest.mark.parametrize(
    "fields",
    [
        {"identity": "half a pair \ud800"},
        {"metadata": {"n": float("nan")}},
        {"metadata": {"n": float("inf")}},
    ],
)
def test_what_cannot_be_kept_is_refused_and_not_stored(store: Store, fields: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="cannot keep a value"):
        fill(store, 2, **fields)
    assert rows(store, t.items) == 0
    assert len(fill(store, 1)) == 1


def test_filters_are_exact(store: Store) -> None:
    a = fill(store, 1, camera="a", identity="x", captured_at=100.0, metadata={"n": 1, "t": "u", "b": True})
    b = fill(store, 1, camera="b", identity="y", captured_at=200.0, metadata={"n": 2})
    fill(store, 1)

    def found(**fields: object) -> list[int]:
        return [int(s) for s in store.items.seqs("s", filter_of(json.dumps(fields)))]

    assert (
        found(camera="a")
        == found(identity="x")
        == found(metadata={"n": 1})
        == found(metadata={"t": "u", "b": True})
        == a
    )
    assert found(captured_after=150.0) == b
    assert found(captured_before=200.0) == a
    assert found(metadata={"n": 3}) == found(camera="a", identity="y") == []


def test_only_the_live_space_and_its_parent_are_kept(store: Store) -> None:
    seqs = fill(store, 3)
    for number, space in ((2, "space-b"), (3, "space-c")):
        store.embeddings.add(space, seqs, np.ones((3, 4)), [None] * 3)
        store.versions.make_live(version(number, space, number - 1))
    assert store.embeddings.drop_unused() == 3
    assert store.embeddings.get(seqs[0], "space-a") is None
    assert store.embeddings.get(seqs[0], "space-b") is not None
    assert list(store.embeddings.missing("s", "space-a")) == seqs


def test_the_job_of_a_version_has_succeeded_when_the_version_is_live(store: Store) -> None:
    fill(store, 1)
    store.jobs.save(Job("job", "s", "adapt", {}, "running").row())
    store.versions.make_live(version(2, "space-b", 1), "job")
    row = store.jobs.get("job")
    assert row is not None
    assert [row[name] for name in ("state", "progress", "stage", "version")] == ["succeeded", 1.0, "done", 2]


def test_items_without_an_embedding_in_a_space_are_known(store: Store) -> None:
    seqs = fill(store, 5)
    assert list(store.embeddings.missing("s", "space-b")) == seqs
    store.embeddings.add("space-b", seqs[:3], np.ones((3, 4)), [None] * 3)
    assert list(store.embeddings.missing("s", "space-b")) == seqs[3:]


def test_embeddings_of_items_erased_meanwhile_are_left_out(store: Store) -> None:
    seqs = fill(store, 2)
    store.items.erase(seqs[:1], "somebody", "s", "item")
    store.embeddings.add("space-b", seqs, np.ones((2, 4)), [None] * 2)
    assert store.embeddings.get(seqs[0], "space-b") is None
    assert store.embeddings.get(seqs[1], "space-b") is not None


def test_a_job_whose_losses_are_no_numbers_is_kept(store: Store) -> None:
    job = Job("job", "s", "adapt", {}, "declined")
    job.report.losses = [{"total": float("nan")}]
    store.jobs.save(job.row())
    row = store.jobs.get("job")
    assert row is not None
    assert Job.of_row(row).report.losses == [{"total": None}]


def test_nothing_names_an_item_that_was_erased(store: Store) -> None:
    gone, kept = enroll(store, 2, "key")
    for item in (gone, kept):
        store.audit.note("reader", "read-image", "s", {}, item.id)
    job = Job("job", "s", "adapt", {}, "failed")
    job.report.error = f"the images of {gone.id} and {kept.id} are not kept"
    store.jobs.save(job.row())
    store.items.erase([gone.seq], "writer", "s", "item")
    store.audit.note("reader", "read-image", "s", {}, gone.id)  # it was on its way
    with store.database.read() as db:
        everything = "".join(str(db.execute(sa.select(table)).all()) for table in t.metadata.sorted_tables)
    assert gone.id not in everything
    lines = [(line["actor"], line["action"], line["detail"]) for line in store.audit.lines()]
    assert lines == [
        ("reader", "read-image", {}),
        ("reader", "read-image", {"item": kept.id}),
        ("writer", "erase", {"by": "item", "items": 1}),
        ("reader", "read-image", {}),
    ]
    assert store.jobs.get("job")["report"]["error"] == (  # type: ignore[index]
        f"the images of (erased) and {kept.id} are not kept"
    )


def test_a_request_goes_with_the_last_of_its_items(store: Store) -> None:
    items = enroll(store, 3, "bob at the door")
    store.items.erase([items[0].seq], "writer", "s", "item")
    request = store.requests.get("bob at the door")
    assert request is not None
    assert (request.erased, request.fingerprint, request.answer) == (False, "print", {"site": "s"})
    assert request.seqs == [item.seq for item in items[1:]]
    store.items.erase([item.seq for item in items[1:]], "writer", "s", "identity")
    request = store.requests.get("bob at the door")
    assert request is not None
    assert (request.erased, request.fingerprint, request.answer, request.seqs) == (True, "", {}, [])
    assert rows(store, t.request_items) == 0
    with store.database.read() as db:
        assert "bob" not in str(db.execute(sa.select(t.requests)).all())


def test_a_newer_schema_is_refused(store: Store, place: str | Path) -> None:
    with store.database.write() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(StartError, match=r"revision 9999.*update Resight"):
        Store(place)


def test_whom_a_query_leaves_out_is_looked_up_by_hidden_names_and_not_item_by_item(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.versions.add_site(version())
    fill(store, 3, identity="ada")
    statements: list[tuple[str, Any]] = []

    def keep(connection: object, cursor: object, statement: str, values: Any, *rest: object) -> None:
        statements.append((statement, values))

    sa.event.listen(store.database.engine, "before_cursor_execute", keep)
    assert len(store.people.left_out("s", None, include_hidden=False)) == 0
    sa.event.remove(store.database.engine, "before_cursor_execute", keep)
    steps = []
    with store.database.read() as db:
        for statement, values in statements:
            steps += [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    of_items = [step for step in steps if "items" in step]
    assert of_items
    assert all("identity=?" in step for step in of_items), of_items
    store.close()
