"""What can go wrong with a database: one sentence, nothing stored, and the server goes on."""

import os
import resource
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

from benchmarks.serving import DEMO, ServerProcess, free_ports
from cli.serving import serve
from server.errors import StartError, StoreUnavailable
from server.gallery.records import NewItem, Version
from server.gallery.store import Store
from tests.postgres import PostgresProcess
from tests.tiny import make_tiny_bundle, picture


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
