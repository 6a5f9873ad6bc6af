"""What was erased leaves the files too, however long somebody reads, and nobody waits for that."""

import asyncio
import hashlib
import itertools
import random
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from resight_client import AsyncClient, Client, Erased
from typer.testing import CliRunner

from benchmarks.postgres import PostgresProcess
from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from resight import app
from server.errors import Conflict
from server.gallery import tables as t
from server.gallery.filters import ItemFilter
from server.gallery.records import EnrollRequest, NewItem, Version
from server.gallery.store import Store
from server.work import work_folder
from tests.tiny import make_tiny_bundle, open_tiny, picture


def content_of(folder: Path) -> bytes:
    """The bytes of every file of a folder. Another process reads them: closing a file of a database drops the
    locks that this process has on it."""
    return subprocess.run(
        ["cat", *(path for path in folder.rglob("*") if path.is_file())], check=True, capture_output=True
    ).stdout


def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Reader:
    """A second process's view of a database: a read transaction that stays open until `close`."""

    def __init__(self, folder: Path) -> None:
        self.db = sqlite3.connect(folder / "gallery.db", isolation_level=None)
        self.db.execute("BEGIN")
        self.db.execute("SELECT count(*) FROM items").fetchone()

    def close(self) -> None:
        """Lets go."""
        self.db.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder."""
    return tmp_path / "data"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """A store with one site."""
    opened = Store(folder)
    opened.versions.add_site(Version("s", 1, "profile", "space", "space", 4, None, "created", time.time()))
    yield opened
    opened.close()


def fill(store: Store, n: int) -> list[int]:
    """Items whose image, identity and metadata can be recognised in a file; their seqs."""
    items = [NewItem(identity=f"name-{i}-", metadata={"note": f"note-{i}-" + "z" * 3000}) for i in range(n)]
    images = [f"image-{i}-".encode() * 2000 for i in range(n)]
    return [item.seq for item in store.items.enroll("s", "space", items, images, np.ones((n, 4)))]


def left_of(folder: Path, number: int) -> list[str]:
    """What the files still hold of an item that `fill` made."""
    content = content_of(folder)
    return [word for word in ("image", "name", "note") if f"{word}-{number}-".encode() in content]


def test_an_erased_item_is_in_no_file(store: Store, folder: Path) -> None:
    seqs = fill(store, 5)
    store.items.erase(seqs[2:3], "somebody", "s", "item")
    assert left_of(folder, 2) == ["image", "name", "note"]  # in the write-ahead log
    assert store.purge.after_erasure() is True
    assert left_of(folder, 2) == []
    assert left_of(folder, 1) == ["image", "name", "note"]


def moved_rows(store: Store, seed: int) -> tuple[dict[int, int], set[int]]:
    """A history after which SQLite leaves a copy of an erased row in a page. Returns the numbers of the items
    that are left, by seq, and those of the erased ones: number i holds the word `secret-i-`."""
    chance = random.Random(seed)
    lengths = [chance.choice([0, 300, 900, 3000]) for _ in range(60)]
    new = [NewItem(metadata={"k": f"secret-{i}-" + "z" * length}) for i, length in enumerate(lengths)]
    items = store.items.enroll("s", "space", new, [b"x"] * 60, np.ones((60, 4)))
    alive, erased = {item.seq: i for i, item in enumerate(items)}, set[int]()
    for _ in range(4):
        chosen = chance.sample(sorted(alive), len(alive) // 2)
        store.items.erase(chosen, "somebody", "s", "identity")
        erased |= {alive.pop(seq) for seq in chosen}
    with store.database.read() as db:
        db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return alive, erased


def erased_words(folder: Path, erased: set[int]) -> list[int]:
    """The erased items that `moved_rows` made and of which the files hold a copy."""
    content = content_of(folder)
    return [i for i in erased if f"secret-{i}-".encode() in content]


@pytest.mark.parametrize("seed", [80, 95])
def test_copies_that_moved_rows_left_behind_are_overwritten(store: Store, folder: Path, seed: int) -> None:
    alive, erased = moved_rows(store, seed)
    before = store.items.by_seq(sorted(alive))
    assert erased_words(folder, erased), "this SQLite needs another history"
    assert store.purge.after_erasure() is True
    assert erased_words(folder, erased) == []
    with store.database.read() as db:
        assert db.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
    assert store.items.by_seq(sorted(alive)) == before
    kept = {seq: str(item.metadata["k"]).split("z")[0] for seq, item in before.items()}
    assert kept == {seq: f"secret-{i}-" for seq, i in alive.items()}


def test_pages_that_are_written_again_while_they_are_looked_through_are_overwritten_too(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write-ahead log then holds the old copies, which the next checkpoint brings back into the file."""
    alive, erased = moved_rows(store, 80)
    residue = store.purge.residue
    assert residue is not None
    look, looks = residue._dirty, []

    def look_and_write(pages: Iterable[int]) -> set[int]:
        dirty = look(pages)
        looks.append(dirty)
        if len(looks) == 1:
            with store.database.write() as db:  # as long as before, so that every row stays where it is
                db.exec_driver_sql("UPDATE items SET enrolled_at = enrolled_at + 1")
        return dirty

    monkeypatch.setattr(residue, "_dirty", look_and_write)
    assert store.purge.after_erasure() is True
    assert len(looks) == 2 and looks[1], "the update wrote none of the pages"
    with store.database.read() as db:
        db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        assert db.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
    assert erased_words(folder, erased) == []
    assert len(store.items.by_seq(sorted(alive))) == len(alive)


def test_while_pages_are_looked_through_every_change_goes_to_the_log(store: Store, folder: Path) -> None:
    fill(store, 3)
    residue = store.purge.residue
    assert residue is not None
    file = folder / "gallery.db"
    with residue._frozen() as frozen:
        assert frozen and not residue._logged()
        before = file.read_bytes()
        fill(store, 3)
        with store.database.engine.connect() as other:
            other.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
        assert file.read_bytes() == before
        assert residue._logged()  # what has to be looked at again


def test_a_connection_that_knew_the_old_page_does_not_write_it_back(store: Store, folder: Path) -> None:
    seqs = fill(store, 40)
    for start in range(0, 40, 2):
        store.items.get(str(start))  # pages into the caches of connections
        store.items.erase(seqs[start : start + 1], "somebody", "s", "item")
        assert store.purge.after_erasure() is True
        fill(store, 1)  # writes into the pages that were cleaned; its own words are those of number 0
    content = content_of(folder)
    assert [i for i in range(2, 40, 2) if f"note-{i}-".encode() in content] == []


def test_a_connection_that_read_a_page_just_before_it_was_cleaned_reads_it_again(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, erased = moved_rows(store, 80)
    residue = store.purge.residue
    assert residue is not None
    look = residue._dirty
    with store.database.engine.connect() as other:

        def look_and_read(pages: Iterable[int]) -> set[int]:
            dirty = look(pages)
            other.exec_driver_sql("SELECT sum(length(metadata)) FROM items").scalar()
            return dirty

        monkeypatch.setattr(residue, "_dirty", look_and_read)
        assert store.purge.after_erasure() is True
        other.exec_driver_sql("UPDATE items SET enrolled_at = enrolled_at + 1")
        other.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    assert erased_words(folder, erased) == []


def test_a_purge_waits_for_a_reader_and_nobody_waits_for_the_purge(store: Store, folder: Path) -> None:
    seqs = fill(store, 3)
    reader = Reader(folder)
    store.items.erase(seqs[:1], "somebody", "s", "item")
    assert store.purge.after_erasure() is False
    fill(store, 1)
    assert store.purge.purged is False
    assert store.purge.waiting_s > 0
    reader.close()
    until(lambda: store.purge.purged is True)
    assert store.purge.waiting_s == 0
    store.items.erase(seqs[1:2], "somebody", "s", "item")
    store.purge.after_erasure()
    assert left_of(folder, 1) == []


def test_attempts_become_rarer_while_a_reader_stays(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seqs = fill(store, 1)
    pauses: list[float] = []

    def shortly(pause: float) -> bool:
        pauses.append(pause)
        time.sleep(0.001)
        return store.purge.closed.is_set()

    monkeypatch.setattr(store.purge.closed, "wait", shortly)
    reader = Reader(folder)
    store.items.erase(seqs, "somebody", "s", "item")
    store.purge.after_erasure()
    until(lambda: len(pauses) >= 8)
    reader.close()
    assert pauses[0] <= 0.1
    growing = [long > short for short, long in itertools.pairwise(pauses[:6])]
    assert all(growing) and pauses[5:8] == [5, 5, 5]


def test_what_an_earlier_process_left_is_purged_at_the_start(store: Store, folder: Path) -> None:
    seqs = fill(store, 3)
    reader = Reader(folder)
    store.items.erase(seqs[1:2], "somebody", "s", "item")
    store.close()
    assert left_of(folder, 1) == ["image", "name", "note"]
    again = Store(folder)
    assert again.purge.purged is False
    reader.close()
    until(lambda: again.purge.purged is True)
    assert left_of(folder, 1) == []
    again.close()


def test_no_temporary_file_holds_rows(store: Store) -> None:
    with store.database.read() as db:
        assert db.exec_driver_sql("PRAGMA temp_store").scalar() == 2  # memory
        assert db.exec_driver_sql("PRAGMA secure_delete").scalar() == 1


def test_a_reader_delays_the_purge_of_a_server_and_nothing_else(tmp_path: Path, folder: Path) -> None:
    bundle = make_tiny_bundle(tmp_path)
    with (
        ServerProcess(bundle.path, folder, engine="onnxruntime") as server,
        Client(server.url) as client,
    ):
        records = [{"identity": f"person-{i // 4}"} for i in range(12)]
        ids = [i.id for i in client.enroll("lobby", [picture(i) for i in range(12)], records=records).items]
        assert httpx.get(f"{server.url}/ready").json() == {"status": "ready", "purged": True}
        erased = httpx.delete(f"{server.url}/gallery/{ids[7]}").json()
        assert erased == {"erased": 1, "purged": True, "index_keeps_until": None}
        assert picture(7) not in content_of(folder)

        reader = Reader(folder)
        began = time.monotonic()
        person = {"site": "lobby", "identity": "person-0"}
        erased = httpx.delete(f"{server.url}/gallery", params=person).json()
        assert erased == {"erased": 4, "purged": False, "index_keeps_until": None}
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            answer = rpc.GalleryStub(channel).Erase(pb.EraseRequest(item_id=ids[5]))
        assert (answer.erased, answer.HasField("purged"), answer.purged) == (1, True, False)
        client.enroll("garage", [picture(20)])  # other sites go on
        assert time.monotonic() - began < 20  # each of these took 30 s when they waited for the reader
        assert httpx.get(f"{server.url}/ready").json() == {"status": "ready", "purged": False}
        assert _metric(server) > 0
        assert picture(0) in content_of(folder)
        server.kill()

    with ServerProcess(bundle.path, folder, engine="onnxruntime") as server:
        assert httpx.get(f"{server.url}/ready").json() == {"status": "ready", "purged": False}
        assert picture(0) in content_of(folder)
        reader.close()
        until(lambda: httpx.get(f"{server.url}/ready").json()["purged"])
        assert _metric(server) == 0
        content = content_of(folder)
        assert [i for i in (0, 1, 2, 3, 5, 7) if picture(i) in content or ids[i].encode() in content] == []
        assert b"person-0" not in content
        assert picture(4) in content


def test_the_client_and_the_command_say_what_is_not_purged(tmp_path: Path, folder: Path) -> None:
    bundle = make_tiny_bundle(tmp_path)
    with (
        ServerProcess(bundle.path, folder, engine="onnxruntime") as server,
        Client(server.url) as client,
    ):
        words = ["erase", "--yes", "--site", "lobby", "--server", server.url]
        ids = [item.id for item in client.enroll("lobby", [picture(i) for i in range(9)]).items]
        assert client.erase(ids[0]) == Erased(1, purged=True)
        assert CliRunner().invoke(app, [*words, ids[1]]).stdout == "erased 1 item(s) of site lobby\n"

        reader = Reader(folder)
        assert client.erase(ids[2]) == Erased(1, purged=False)
        nobody = CliRunner().invoke(app, [*words, "--identity", "nobody"]).stdout
        assert nobody == "erased 0 item(s) of site lobby\n"
        for what in (ids[3:5], ["--all"]):
            said = CliRunner().invoke(app, [*words, *what]).stdout
            assert "their bytes are not purged from the server's files yet; the server tries again" in said
        reader.close()
        until(lambda: httpx.get(f"{server.url}/ready").json()["purged"])

        async def story() -> None:
            async with AsyncClient(server.url) as other:
                item = (await other.enroll("lobby", [picture(20)])).items[0].id
                assert await other.erase(item) == Erased(1, purged=True)

        asyncio.run(story())


def test_crops_that_an_adaptation_works_with_count_as_not_purged(tmp_path: Path, folder: Path) -> None:
    service = open_tiny(make_tiny_bundle(tmp_path), folder)
    enrolled = asyncio.run(service.enrolling.enroll("lobby", [picture(0), picture(1)], [NewItem()] * 2))
    with work_folder(folder):
        first = asyncio.run(service.items.erase_item(enrolled.items[0].id, "somebody"))
        assert (first.purged, service.store.purge.purged) == (False, False)
    until(lambda: service.store.purge.purged is True)
    second = asyncio.run(service.items.erase_item(enrolled.items[1].id, "somebody"))
    assert second.purged is True
    service.close()


def _metric(server: ServerProcess) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("resight_unpurged_seconds ")).split()[1])


def test_an_erased_request_is_neither_answered_nor_enrolled_again(tmp_path: Path, folder: Path) -> None:
    service = open_tiny(make_tiny_bundle(tmp_path), folder)

    def enroll(count: int, key: str) -> list[str]:
        """Enrolls pictures under a key; returns the ids of the answer."""
        images = [picture(i) for i in range(count)]
        answer = service.enrolling.enroll("lobby", images, [NewItem()] * count, key)
        return [item.id for item in asyncio.run(answer).items]

    def erase(item: str) -> None:
        """Erases an item."""
        asyncio.run(service.items.erase_item(item, "somebody"))

    first = enroll(3, "spent-1")
    erase(first[1])
    assert enroll(3, "spent-1") == [first[0], first[2]]
    with pytest.raises(Conflict, match="was used for another request"):
        enroll(2, "spent-1")
    erase(first[0])
    erase(first[2])
    for count in (3, 1):
        with pytest.raises(Conflict, match=r"'spent-1' were erased; take a new key"):
            enroll(count, "spent-1")
    assert service.store.items.count("lobby") == 0
    assert len(enroll(3, "spent-2")) == 3
    service.close()


@pytest.mark.parametrize(("days", "is_free"), [(7, False), (0, True)])
def test_a_spent_key_is_free_again_after_its_lifetime(
    tmp_path: Path, folder: Path, days: float, is_free: bool
) -> None:
    """Whether its lifetime ends while the server runs or while it does not; a key with items is kept."""
    bundle = make_tiny_bundle(tmp_path)
    service = open_tiny(bundle, folder, spent_key_days=days)

    def enroll(key: str) -> str:
        """Enrolls a picture under a key; returns its id."""
        return asyncio.run(service.enrolling.enroll("lobby", [picture(0)], [NewItem()], key)).items[0].id

    def is_known(key: str) -> bool:
        """Whether the store has the key."""
        return service.store.requests.get(key) is not None

    kept, spent = enroll("kept"), enroll("spent")
    asyncio.run(service.items.erase_item(spent, "somebody"))
    assert is_known("spent")  # the last look was at the start, less than an hour ago
    service.store.requests.dropped_at -= 3_600
    asyncio.run(service.items.erase_item(enroll("also spent"), "somebody"))
    assert (is_known("kept"), is_known("spent")) == (True, not is_free)
    service.close()
    service = open_tiny(bundle, folder, spent_key_days=days)
    assert (is_known("kept"), is_known("also spent")) == (True, not is_free)
    assert enroll("kept") == kept
    if is_free:
        assert enroll("spent") != spent
    else:
        with pytest.raises(Conflict, match="'spent' were erased; take a new key"):
            enroll("spent")
    service.close()


def test_the_lifetime_of_a_spent_key_begins_when_it_is_spent(store: Store) -> None:
    request = EnrollRequest("key", "print", {"site": "s"})
    items = store.items.enroll("s", "space", [NewItem()], [b"x"], np.ones((1, 4)), request)
    with store.database.write() as db:
        db.execute(t.requests.update().values(created_at=time.time() - 30 * 86_400))
    store.items.erase([items[0].seq], "somebody", "s", "item")
    assert store.requests.drop_spent(older_than_s=60) == 0
    assert store.requests.get("key") is not None


@pytest.mark.parametrize("when", ["start", "erasure of nothing"])
def test_a_spent_key_that_is_deleted_is_purged_where_nothing_else_is_erased(
    tmp_path: Path, folder: Path, when: str
) -> None:
    bundle = make_tiny_bundle(tmp_path)
    service = open_tiny(bundle, folder, spent_key_days=0)
    item = asyncio.run(service.enrolling.enroll("lobby", [picture(0)], [NewItem()], "key")).items[0]
    asyncio.run(service.items.erase_item(item.id, "somebody"))
    if when == "start":
        service.close()
        service = open_tiny(bundle, folder, spent_key_days=0)
    else:
        service.store.requests.dropped_at -= 3_600
        asyncio.run(service.items.erase_where("lobby", ItemFilter(), "somebody", everything=True))
    assert service.store.requests.get("key") is None
    digest = hashlib.sha256(b"key").hexdigest().encode()
    until(lambda: service.store.purge.purged is True)
    assert digest not in content_of(folder)
    service.close()


def test_postgresql_does_not_claim_to_be_purged(postgres: PostgresProcess) -> None:
    store = Store(postgres.new_database("gallery"))
    store.versions.add_site(Version("s", 1, "profile", "space", "space", 4, None, "created", time.time()))
    store.items.erase(fill(store, 1), "somebody", "s", "item")
    assert store.purge.after_erasure() is None
    assert store.purge.purged is None
    store.close()
