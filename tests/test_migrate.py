"""A gallery of an earlier version opens with everything that it held."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from benchmarks.postgres import PostgresProcess
from server.gallery import tables
from server.gallery.filters import AnyOf, ItemFilter
from server.gallery.store import Store

OLD = Path(__file__).parent / "fixtures/gallery-schema-1.db"  # made by the version before Alembic
ERASED = "d578555b32374ea099844461e6029fe5"  # the first of the six items of its request `retry-1`


@pytest.fixture
def upgraded(tmp_path: Path) -> Iterator[Store]:
    """A copy of the old gallery, opened by this version."""
    shutil.copy(OLD, tmp_path / "gallery.db")
    store = Store(tmp_path)
    yield store
    store.close()


def test_a_gallery_of_the_version_before_alembic_is_upgraded_in_place(
    upgraded: Store, tmp_path: Path
) -> None:
    assert upgraded.items.count("garage") == 2
    assert [v.version for v in upgraded.versions.live()] == [1, 2]
    second = upgraded.versions.get("lobby", 2)
    assert second is not None
    assert (second.space_id, second.raw_space_id) == ("space-b", "space-b")
    assert len(next(iter(upgraded.embeddings.of_site("lobby", "space-b"))).seqs) == 8
    upgraded.close()
    again = Store(tmp_path)
    assert again.items.count("garage") == 2
    again.close()


def test_old_requests_and_audit_lines_forget_what_was_erased(upgraded: Store, tmp_path: Path) -> None:
    request = upgraded.requests.get("retry-1")
    assert request is not None
    assert request.fingerprint == "fingerprint-1"
    assert request.answer == {"site": "lobby", "version": 1, "space_id": "space-a"}
    assert request.seqs == [2, 3, 4, 5, 6]
    assert [line["detail"] for line in upgraded.audit.lines()] == [
        {"items": 1, "by": "item"},
        {"item": "921560b476994d24a3766d8a360f186e"},
    ]
    assert upgraded.purge.purged
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert ERASED.encode() not in files
    assert b"retry-1" not in files


def test_old_labels_are_found_by_the_names_of_today(tmp_path: Path) -> None:
    """An erasure by a name must reach what was enrolled under it, however its letters were composed."""
    shutil.copy(OLD, tmp_path / "gallery.db")
    with sqlite3.connect(tmp_path / "gallery.db") as db:
        db.execute("UPDATE items SET identity = 'Jose\u0301', camera = 'Tu\u0308r' WHERE seq = 2")
    store = Store(tmp_path)
    where = ItemFilter(columns=(("identity", AnyOf(("Jos\u00e9",))), ("camera", AnyOf(("T\u00fcr",)))))
    assert store.items.seqs("lobby", where).tolist() == [2]
    store.close()


def test_an_old_request_whose_items_were_all_erased_still_blocks_its_key(tmp_path: Path) -> None:
    shutil.copy(OLD, tmp_path / "gallery.db")
    with sa.create_engine(f"sqlite:///{tmp_path / 'gallery.db'}").begin() as db:
        for table in ("embeddings", "images", "items"):
            db.execute(sa.text(f"DELETE FROM {table} WHERE seq <= 6"))
        db.execute(sa.text("UPDATE requests SET created_at = 1000000000"))  # erased lately, for all it says
    store = Store(tmp_path)
    assert store.requests.drop_spent(older_than_s=60) == 0
    request = store.requests.get("retry-1")
    assert request is not None
    assert (request.erased, request.answer) == (True, {})
    store.requests.dropped_at -= 3_600
    assert store.requests.drop_spent(older_than_s=0) == 1
    assert store.requests.get("retry-1") is None
    store.close()


def test_a_request_with_items_is_not_spent_by_the_upgrade(upgraded: Store) -> None:
    assert upgraded.requests.drop_spent(older_than_s=0) == 0
    assert upgraded.requests.get("retry-1") is not None


@pytest.mark.parametrize("origin", ["new", "old", "postgresql"])
def test_the_migrations_make_the_tables_that_queries_use(
    origin: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if origin == "old":
        store = request.getfixturevalue("upgraded")
    elif origin == "new":
        store = Store(tmp_path / "new")
    else:
        postgres: PostgresProcess = request.getfixturevalue("postgres")
        store = Store(postgres.new_database())
    with store.database.read() as db:
        context = MigrationContext.configure(db)
        differences = compare_metadata(context, tables.metadata)
    assert [d for d in differences if d[1].name != "meta"] == []  # `meta` only says that a gallery is old
    store.close()
