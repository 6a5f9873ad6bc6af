"""What can go wrong with a database: one sentence, nothing stored, and the server goes on."""

import asyncio
import os
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
import typer
from resight_client import Client, ResightError

from benchmarks.postgres import PostgresProcess
from benchmarks.serving import DEMO, ServerProcess, free_ports
from cli.serving import serve
from reid.bundle import Bundle
from reid.profile import Centres
from server.errors import NotFound, StartError, StoreUnavailable
from server.gallery.records import NewItem, Version
from server.gallery.store import Store
from server.job import ENDED
from tests.tiny import make_tiny_bundle, open_tiny, picture


def enroll(store: Store, size: int) -> None:
    """One item of site `s` with an image of this size."""
    store.versions.add_site(Version("s", 1, "profile", "space", "space", 4, None, "created", time.time()))
    store.items.enroll("s", "space", [NewItem(identity="bob")], [os.urandom(size)], np.ones((1, 4)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a gallery."""
    store = Store(tmp_path / "data")
    enroll(store, 500_000)
    store.close()
    return tmp_path / "data"


def test_a_data_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    for path in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(StartError, match=r"data folder .* cannot be used \(.*; choose"):
            Store(path)


def test_a_file_that_is_no_database(folder: Path) -> None:
    (folder / "gallery.db").write_bytes(b"these are notes, not a gallery. " * 1000)
    with pytest.raises(StartError, match="its file is no SQLite database; restore it from a backup"):
        Store(folder)


def test_a_damaged_database(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (folder / "gallery.db").open("r+b") as file:
        for page in range(1, 20):  # the first page stays: it says that this is a database
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    with pytest.raises(typer.Exit):
        serve(bundle=DEMO, data=folder, device="cpu", grpc_port=0)
    assert "its file is damaged; restore it from a backup" in capsys.readouterr().err


def test_a_folder_in_the_place_of_the_database(tmp_path: Path) -> None:
    (tmp_path / "gallery.db").mkdir()
    with pytest.raises(StartError, match="its file cannot be opened"):
        Store(tmp_path)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle and, in `data`, the gallery of a site whose profile has a centre."""
    folder = tmp_path_factory.mktemp("gallery")
    bundle = make_tiny_bundle(folder)
    service = open_tiny(bundle, folder / "data")
    asyncio.run(service.enrolling.enroll("hall", [picture(i) for i in range(9)], [NewItem()] * 9))
    profile = bundle.profile().with_centres(Centres(np.full(24, 0.1, np.float32), {}))
    spaces = service.engines.space(profile.id), service.engines.raw_space(profile.id)
    centred = Version("hall", 2, profile.id, *spaces, 24, 1, "adapt", time.time())
    service.store.versions.save_profile(profile)
    service.store.versions.make_live(centred)
    service.close()
    return folder


CUT = "UPDATE {} SET {} = substr({}, 1, 10) WHERE rowid = 3"


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (CUT.replace("{}", "embeddings", 1).replace("{}", "vector"), "embedding of item number 3 .* whole"),
        ("UPDATE embeddings SET vector = x''", "embedding of item number 1 .* whole"),
        ("UPDATE embeddings SET vector = 'words'", "embedding of item number 1 .* whole"),
        ("UPDATE embeddings SET vector = substr(vector, 1, 40)", "have 20 values and not 24"),
        ("UPDATE profiles SET data = substr(data, 1, 99)", "profile .* cannot be read"),
        ("UPDATE profiles SET data = 'words'", "profile .* cannot be read"),
        ("DELETE FROM profiles", "is not in the store"),
        ("DROP TABLE embeddings", "no such table"),
        ("UPDATE alembic_version SET version_num = 'later'", "made by a newer Resight"),
        ("DELETE FROM alembic_version", "this Resight reads 1"),
    ],
)
def test_a_damaged_gallery_is_one_sentence(
    statement: str, sentence: str, gallery: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(gallery / "data", tmp_path / "data")
    with sqlite3.connect(data / "gallery.db") as db:
        db.execute(statement)
    db.close()
    with pytest.raises(StartError, match=sentence) as caught:
        open_tiny(Bundle.load(gallery / "tiny.resight"), data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [100, 8192, 60_000])
def test_a_database_that_was_cut_off_is_one_sentence(kept: int, gallery: Path, tmp_path: Path) -> None:
    data = shutil.copytree(gallery / "data", tmp_path / "data")
    os.truncate(data / "gallery.db", kept)
    for command in (lambda: open_tiny(Bundle.load(gallery / "tiny.resight"), data), lambda: Store(data)):
        with pytest.raises(StartError, match="its file is damaged; restore it from a backup"):
            command()


def test_what_lies_beside_the_database_and_is_none_of_it(gallery: Path, tmp_path: Path) -> None:
    data = shutil.copytree(gallery / "data", tmp_path / "data")
    (data / "gallery.db-wal").write_bytes(os.urandom(10_000))  # SQLite takes no frame without its checksum
    (data / "notes.txt").write_text("ours")
    service = open_tiny(Bundle.load(gallery / "tiny.resight"), data)
    assert service.store.items.count("hall") == 9
    service.close()
    assert (data / "notes.txt").read_text() == "ours"
    for name in ("gallery.db-wal", "gallery.db-shm"):
        (data / name).unlink(missing_ok=True)
        (data / name).mkdir()
        with pytest.raises(StartError, match=r"its file (cannot be opened|or folder may not be written)"):
            open_tiny(Bundle.load(gallery / "tiny.resight"), data)
        (data / name).rmdir()


def test_a_picture_that_is_gone_is_missed_alone(gallery: Path, tmp_path: Path) -> None:
    data = shutil.copytree(gallery / "data", tmp_path / "data")
    with sqlite3.connect(data / "gallery.db") as db:
        db.execute("DELETE FROM images WHERE seq = 1")
        ids = [row[0] for row in db.execute("SELECT id FROM items ORDER BY seq")]
    db.close()
    service = open_tiny(Bundle.load(gallery / "tiny.resight"), data)
    with pytest.raises(NotFound, match="image"):
        asyncio.run(service.items.image(ids[0], "test"))
    assert asyncio.run(service.items.image(ids[1], "test")) == picture(1)
    service.close()


def test_an_embedding_that_is_gone_is_said_at_the_start(
    gallery: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = shutil.copytree(gallery / "data", tmp_path / "data")
    open_tiny(Bundle.load(gallery / "tiny.resight"), data).close()
    assert "no embedding" not in caplog.text
    with sqlite3.connect(data / "gallery.db") as db:
        db.execute("DELETE FROM embeddings WHERE seq IN (2, 3)")
    db.close()
    service = open_tiny(Bundle.load(gallery / "tiny.resight"), data)
    assert "site hall: 2 items have no embedding, so no query finds them" in caplog.text
    assert len(asyncio.run(service.querying.query("hall", [picture(1)], top_k=20)).matches) == 7
    job = asyncio.run(service.adapting.roll_back("hall"))
    while service.jobs.get(job.id).state not in ENDED:
        time.sleep(0.02)
    assert len(asyncio.run(service.querying.query("hall", [picture(1)], top_k=20)).matches) == 9
    service.close()


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that everybody can read and, until the end of the test, a process that is not root."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        store = Store(folder / "data")
        enroll(store, 10)
        store.close()
        for path in (folder, folder / "data"):
            path.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            for path in (folder, folder / "data"):
                path.chmod(0o755)


def test_a_folder_that_may_not_be_read(unprivileged: Path) -> None:
    if os.geteuid() == 65534:
        os.seteuid(0)
        (unprivileged / "data").chmod(0o000)
        os.seteuid(65534)
    else:
        (unprivileged / "data").chmod(0o000)
    with pytest.raises(StartError, match=r"cannot be (used|opened)"):
        Store(unprivileged / "data")


def test_a_folder_that_may_not_be_written(unprivileged: Path) -> None:
    for path in (unprivileged / "data", unprivileged / "new"):
        with pytest.raises(StartError, match=r"cannot be used \(Permission denied\); choose"):
            Store(path)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "store 'nonsense' is no database URL"),
        ("mysql://u:SECRET@h/d", r"store mysql://u:\*\*\*@h/d is neither sqlite"),
        ("postgresql+asyncpg://u:SECRET@h/d", "is neither sqlite"),
        ("postgresql://u:SECRET@h:port/d", r"store 'postgresql://\*\*\*@h:port/d' is no database URL"),
        ("postgresql:/u:SECRET@h/d", "is no database URL"),
        ("postgresql://u:SEC@SECRET@h/d", "is written %40"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql://u:SECRET@127.0.0.1:{closed}/d", "Connection refused"),
        ("postgresql://u@127.0.0.1:{closed}/d?password=SECRET", "Connection refused"),
        ("postgresql://u:SECRET@127.0.0.1:{open}/nowhere", 'role "u" does not exist'),
        ("postgresql://resight:SECRET@127.0.0.1:{open}/nowhere", 'database "nowhere" does not exist'),
        ("postgresql://resight:SECRET@127.0.0.1:{open}/gallery?wrong=option", "wrong"),
        ("sqlite:////proc/gallery.db", "cannot be used"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_sentence_without_its_password(
    url: str, sentence: str, postgres: PostgresProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    place = url.format(closed=free_ports(1)[0], open=postgres.port)
    with pytest.raises(StartError, match=sentence) as caught:
        Store(place)
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(typer.Exit) as ended:
        serve(bundle=DEMO, store=place)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == f"resight: {caught.value}\n"


def test_a_full_disk_refuses_what_has_no_room_and_nothing_else(folder: Path) -> None:
    store = Store(folder)

    def limit(pages: int) -> None:
        """The most pages that the file may have."""
        store.database.engine.dispose()
        sa.event.listen(
            store.database.engine, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count = {pages}")
        )

    limit(150)
    with pytest.raises(StoreUnavailable, match="its disk is full; free some space") as caught:
        enroll(store, 500_000)
    assert "bob" not in str(caught.value.__cause__)  # what goes into the log says nothing about people
    assert store.items.count("s") == 1
    limit(1000)
    enroll(store, 500_000)
    assert store.items.count("s") == 2
    store.close()


def test_a_file_that_another_program_keeps_locked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(folder)
    sa.event.listen(store.database.engine, "checkout", lambda c, *_: c.execute("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(folder / "gallery.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another program keeps its file locked"):
        enroll(store, 10)
    with pytest.raises(StoreUnavailable):
        store.database.check_writable()
    other.execute("ROLLBACK")
    enroll(store, 10)
    other.close()
    store.close()


def test_a_server_whose_disk_fails_answers_503_and_goes_on(tmp_path: Path) -> None:
    bundle, folder = make_tiny_bundle(tmp_path), tmp_path / "data"
    with (
        ServerProcess(bundle.path, folder, engine="onnxruntime") as server,
        Client(server.url) as client,
    ):
        assert server.process is not None
        first = client.enroll("lobby", [picture(0)]).items[0]
        pid, (_, most) = server.process.pid, resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        # no file may grow any more
        largest = max(path.stat().st_size for path in folder.iterdir() if path.is_file())
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, most))
        with pytest.raises(ResightError, match=r"data folder .* its disk .*free space") as caught:
            client.enroll("lobby", [picture(i) for i in range(900)])
        assert (caught.value.status, caught.value.code) == (503, "store-unavailable")
        assert client.query("lobby", picture(0)).matches[0].id == first.id
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, most))
        assert httpx.get(f"{server.url}/ready").status_code == 503
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
        client.enroll("lobby", [picture(1)])
        assert client.site("lobby").items == 2
        assert httpx.get(f"{server.url}/ready").status_code == 200
        assert "Traceback" not in server.log.read_text()
