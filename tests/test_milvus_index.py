"""The index in Milvus answers what brute force does, whatever the vectors, changes and filters are, and
whatever Milvus lost or has too much."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from server.errors import IndexUnavailable
from server.gallery import milvus_index
from server.gallery.index import SearchFilter
from server.gallery.milvus import MilvusRows, digest_of
from server.gallery.milvus_index import MilvusIndex, StoredVectors
from server.gallery.milvus_writer import MilvusWriter
from server.gallery.records import NewItem, Version
from server.gallery.store import Store
from tests.test_int8_index import DIM, KINDS, brute_force, vectors_of

VERSION = Version("lobby", 1, "profile", "space", "raw", DIM, None, "created", 0.0, "none", 0)


class Gallery:
    """A store, an index of what it has and the plain list of it; the writer's steps are taken by hand."""

    def __init__(self, store: Store, rows: MilvusRows) -> None:
        self.store, self.rows, self.writer = store, rows, MilvusWriter(rows)
        self.stored = StoredVectors(store, VERSION, None)
        self.index = MilvusIndex(rows, self.writer, self.stored, segment=120, delta=20)
        self.truth: dict[int, tuple[str | None, np.ndarray]] = {}

    def enroll(self, cameras: list[str | None], vectors: np.ndarray) -> list[int]:
        """Committed, then added."""
        items = self.store.items.enroll("lobby", "raw", [NewItem(camera=c) for c in cameras], None, vectors)
        seqs = [item.seq for item in items]
        self.index.add(seqs, cameras, vectors)
        self.truth |= {seq: (cameras[i], vectors[i]) for i, seq in enumerate(seqs)}
        return seqs

    def erase(self, seqs: list[int]) -> None:
        """Committed, then removed."""
        self.store.items.erase(seqs, "test", "lobby", "item")
        self.index.remove(seqs)
        for seq in seqs:
            del self.truth[seq]

    def write(self) -> None:
        """Everything that has to be done in Milvus."""
        while self.index.write(at_once=True):
            pass
        self.index.write(at_once=True)

    def check(self, query: np.ndarray, k: int, where: SearchFilter | None = None) -> None:
        """An answer against brute force."""
        where = where or SearchFilter()
        expected = brute_force(self.truth, query, where)
        scores, seqs = self.index.search(query, k, where)
        assert set(seqs.tolist()) <= set(expected)
        assert len(set(seqs.tolist())) == len(seqs) == min(k, len(expected))
        assert scores == pytest.approx(sorted(expected.values(), reverse=True)[:k], abs=2e-6)
        assert [expected[seq] for seq in seqs.tolist()] == pytest.approx(scores, abs=2e-6)
        assert list(self.index.seqs()) == sorted(self.truth)
        assert len(self.index) == len(self.truth)


@pytest.fixture(scope="module")
def rows(milvus_uri: str) -> Iterator[MilvusRows]:
    """A collection for every test of this module: each has an index, hence a space, of its own."""
    rows = MilvusRows(milvus_uri, None, "tests", DIM)
    rows.connect()
    yield rows
    rows.client.drop_collection(rows.collection)
    rows.close()


@pytest.fixture
def gallery(rows: MilvusRows, tmp_path: Path) -> Iterator[Gallery]:
    store = Store(tmp_path / "data")
    store.versions.add_site(VERSION)
    yield Gallery(store, rows)
    store.close()


def test_milvus_finds_what_brute_force_finds(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ids in every form of a condition, and margins that do not always suffice."""
    monkeypatch.setattr(milvus_index, "_IDS", 25)
    monkeypatch.setattr(milvus_index, "_MARGINS", (2, 20))
    rng = np.random.default_rng(0)
    for step in range(14):
        kind, n = str(rng.choice(KINDS)), int(rng.integers(1, 60))
        gallery.enroll(
            [str(c) if c != "-" else None for c in rng.choice(["a", "b", "-"], n)], vectors_of(rng, n, kind)
        )
        if step % 3 == 1:
            count = int(rng.integers(1, len(gallery.truth) // 2))
            gallery.erase(rng.choice(list(gallery.truth), count, replace=False).tolist())
        if step % 2:
            gallery.write()
            assert gallery.index.facts.items == len(gallery.truth)
        some = np.array(
            sorted(rng.choice(list(gallery.truth), len(gallery.truth) // 2, replace=False)), np.int64
        )
        for k in (1, 3, 40, 1000):
            where = SearchFilter(
                camera="a" if rng.random() < 0.2 else None,
                exclude_camera="b" if rng.random() < 0.3 else None,
                allowed=some if rng.random() < 0.4 else None,
                left_out=some[::3] if rng.random() < 0.4 else None,
            )
            gallery.check(vectors_of(rng, 1, kind)[0], k, where)
    monkeypatch.setattr(milvus_index, "MOST", 5)  # as if more were wanted than Milvus returns
    gallery.check(vectors_of(rng, 1, "spread")[0], 40)


def test_an_item_is_found_from_the_moment_it_is_enrolled_and_never_again_once_erased(
    gallery: Gallery,
) -> None:
    """Before it is in Milvus, while it is written, when it is there, and while Milvus still has it."""
    vectors = vectors_of(np.random.default_rng(1), 3, "spread")
    seqs = gallery.enroll(["a", None, "b"], vectors)
    gallery.check(vectors[0], 1)
    gallery.index.write()
    gallery.check(vectors[0], 1)
    gallery.write()
    gallery.check(vectors[0], 1)
    assert gallery.rows.of_space("lobby", gallery.index.space).keys() == set(seqs)
    gallery.erase([seqs[0]])
    gallery.check(vectors[0], 1)
    gallery.write()
    gallery.check(vectors[0], 1)
    assert gallery.rows.of_space("lobby", gallery.index.space).keys() == set(seqs[1:])


def test_a_corrected_row_replaces_the_one_in_milvus(gallery: Gallery) -> None:
    vectors = vectors_of(np.random.default_rng(2), 8, "spread")
    seqs = gallery.enroll(["a"] * 4, vectors[:4])
    gallery.write()
    with gallery.store.database.write() as db:
        db.exec_driver_sql("UPDATE items SET camera = 'b'")
        for seq, vector in zip(seqs, vectors[4:], strict=True):
            db.exec_driver_sql(
                "UPDATE embeddings SET vector = ? WHERE seq = ?", (vector.astype("<f2").tobytes(), seq)
            )
    gallery.index.put(seqs, ["b"] * 4, vectors[4:])
    gallery.truth = {seq: ("b", vectors[4 + i]) for i, seq in enumerate(seqs)}
    for _ in range(2):
        gallery.check(vectors[0], 4)
        gallery.check(vectors[5], 4, SearchFilter(camera="b"))
        gallery.check(vectors[5], 4, SearchFilter(exclude_camera="b"))
        gallery.write()
    digests = {seq: digest_of("b", vectors[4 + i].astype("<f2").tobytes()) for i, seq in enumerate(seqs)}
    assert gallery.rows.of_space("lobby", gallery.index.space) == digests


def test_rows_that_milvus_lost_are_noticed_and_written_again(gallery: Gallery) -> None:
    vectors = vectors_of(np.random.default_rng(3), 30, "spread")
    seqs = gallery.enroll([None] * 30, vectors)
    gallery.write()
    gallery.rows.delete(gallery.index.space, seqs[:7])
    gallery.rows.insert("lobby", gallery.index.space, [10**6], ["x"], [1], vectors[:1])
    gallery.rows.digests(gallery.index.space, seqs)  # a read that waits for both
    with pytest.raises(IndexUnavailable, match=r"showed 23 of 30 rows of site 'lobby', so it is compared"):
        gallery.index.search(vectors[0], 30)
    gallery.index.compare()
    gallery.writer.away = None
    gallery.check(vectors[0], 30)
    gallery.write()
    gallery.check(vectors[0], 30)
    assert gallery.rows.of_space("lobby", gallery.index.space).keys() == set(seqs)


def test_nobody_sees_the_rows_of_another_space(gallery: Gallery) -> None:
    vectors = vectors_of(np.random.default_rng(4), 6, "spread")
    gallery.enroll([None] * 6, vectors)
    gallery.write()
    nearest, nowhere = np.repeat(vectors[:1], 40, 0), [None] * 40
    gallery.rows.insert("lobby", 1, range(100, 140), nowhere, range(40), nearest)
    gallery.rows.insert("hall", gallery.index.space, range(200, 240), nowhere, range(40), nearest)
    gallery.rows.digests(1, [100])
    gallery.check(vectors[0], 6)
    while not gallery.rows.delete_space("lobby", 1):
        time.sleep(0.05)
    assert len(gallery.rows.of_space("lobby", gallery.index.space)) == 6
    assert len(gallery.rows.of_space("hall", gallery.index.space)) == 40


def test_milvus_holds_no_names_and_no_metadata(gallery: Gallery) -> None:
    fields = gallery.rows.client.describe_collection(gallery.rows.collection)["fields"]
    assert {field["name"] for field in fields} == {
        "key",
        "site",
        "space",
        "seq",
        "camera",
        "digest",
        "vector",
    }
    vectors = vectors_of(np.random.default_rng(5), 1, "spread")
    gallery.enroll(["Anna's door"], vectors)
    gallery.write()
    row = gallery.rows.client.query(
        gallery.rows.collection, filter=f"space == {gallery.index.space}", limit=1
    )[0]
    assert "Anna" not in str(row)
