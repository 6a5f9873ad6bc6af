"""The store: whole transactions, real erasure, leftovers removed."""

import json
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from server.errors import StartError
from server.fields import filter_of
from server.gallery.records import EnrollRequest, NewItem, Version
from server.gallery.store import Store


def version(number: int = 1, space: str = "space-a", parent: int | None = None) -> Version:
    """A version of site `s`."""
    return Version("s", number, f"profile-{space}", space, 4, parent, "created", time.time())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one site."""
    opened = Store(tmp_path / "data")
    opened.versions.add_site(version())
    return opened


def fill(store: Store, n: int, **fields: object) -> list[int]:
    """Enrolls n items with marked bytes; returns their seqs."""
    items = [NewItem(**fields) for _ in range(n)]  # type: ignore[arg-type]
    images = [f"marked-image-{i}-".encode() * 50 for i in range(n)]
    return [item.seq for item in store.items.enroll("s", "space-a", items, images, np.ones((n, 4)))]


def test_an_enroll_is_whole_or_nothing(store: Store) -> None:
    fill(store, 2)
    store.items.enroll(
        "s", "space-a", [NewItem()], [b"x"], np.ones((1, 4)), EnrollRequest("key", "print", {})
    )
    with pytest.raises(sa.exc.IntegrityError):
        store.items.enroll(
            "s", "space-a", [NewItem()] * 5, [b"x"] * 5, np.ones((5, 4)), EnrollRequest("key", "print", {})
        )
    assert store.items.count("s") == 3
    with sqlite3.connect(store.database.url.database or "") as db:
        assert [
            db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("items", "images", "embeddings")
        ] == [3, 3, 3]


def test_it_survives_reopening(store: Store, tmp_path: Path) -> None:
    seqs = fill(store, 3, camera="door", metadata={"n": 1.5})
    store.close()
    again = Store(tmp_path / "data")
    assert list(again.items.seqs("s")) == seqs
    chunk = next(iter(again.embeddings.of_site("s", "space-a")))
    assert chunk.cameras == ["door"] * 3
    assert chunk.vectors.tolist() == [[1.0] * 4] * 3


def test_an_erased_image_is_gone_from_the_files(store: Store, tmp_path: Path) -> None:
    seqs = fill(store, 5)
    store.items.erase(seqs[2:3], "somebody", "s", {"item": "x"})
    files = b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir())
    assert b"marked-image-2-" not in files
    assert b"marked-image-1-" in files
    assert store.embeddings.get(seqs[2], "space-a") is None


def test_a_seq_is_never_used_twice(store: Store) -> None:
    seqs = fill(store, 3)
    store.items.erase(seqs, "somebody", "s", {})
    assert min(fill(store, 1)) > max(seqs)


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
        store.embeddings.add(space, seqs, np.ones((3, 4)))
        store.versions.make_live(version(number, space, number - 1))
    assert store.embeddings.drop_unused() == 3
    assert store.embeddings.get(seqs[0], "space-a") is None
    assert store.embeddings.get(seqs[0], "space-b") is not None
    assert list(store.embeddings.missing("s", "space-a")) == seqs


def test_embeddings_of_items_erased_meanwhile_are_left_out(store: Store) -> None:
    seqs = fill(store, 2)
    store.items.erase(seqs[:1], "somebody", "s", {})
    store.embeddings.add("space-b", seqs, np.ones((2, 4)))
    assert store.embeddings.get(seqs[0], "space-b") is None
    assert store.embeddings.get(seqs[1], "space-b") is not None


def test_a_newer_schema_is_refused(store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / "data" / "gallery.db") as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StartError, match=r"revision 9999.*update Resight"):
        Store(tmp_path / "data")
