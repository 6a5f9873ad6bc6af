"""One server has a gallery; the commands that only need its keys work beside it."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from resight_client import Client
from typer.testing import CliRunner

from benchmarks.postgres import PostgresProcess
from benchmarks.serving import ServerProcess
from resight import app
from server.errors import StartError, StoreUnavailable
from server.gallery.records import NewItem, Version
from server.gallery.store import Store
from tests.tiny import make_tiny_bundle, picture

IN_USE = (
    r"is in use by process {pid}( on \S+)? since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ; stop that server first"
)


def enroll(store: Store) -> None:
    """One item of site `s`."""
    store.versions.add_site(Version("s", 1, "profile", "space", "space", 4, None, "created", time.time()))
    store.items.enroll("s", "space", [NewItem()], [b"x"], np.ones((1, 4)))


@pytest.fixture
def store(place: str | Path) -> Iterator[Store]:
    """A store that this process has."""
    opened = Store(place)
    yield opened
    opened.close()


def test_a_gallery_has_one_owner(store: Store, place: str | Path) -> None:
    with pytest.raises(StartError, match=IN_USE.format(pid=os.getpid())):
        Store(place)
    enroll(store)
    store.close()
    Store(place).close()


def test_a_gallery_whose_start_failed_is_free_again(
    place: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("server.gallery.store.Purge", fail)
        with pytest.raises(StartError, match="cannot be opened: too many open files"):
            Store(place)
    Store(place).close()


def test_an_owner_is_named_with_its_host_where_that_is_another(tmp_path: Path) -> None:
    store, note = Store(tmp_path), tmp_path / "gallery.db.owner"
    facts = json.loads(note.read_text())
    for host, named in ((facts["host"], ""), ("elsewhere", " on elsewhere")):
        note.write_text(json.dumps(facts | {"host": host}))
        with pytest.raises(
            StartError, match=f"in use by process {os.getpid()}{named} since {facts['since']}"
        ):
            Store(tmp_path)
    store.close()


def test_a_killed_owner_frees_its_gallery(place: str | Path) -> None:
    opens = f"from pathlib import Path; from server.gallery.store import Store; Store({place!r})"
    opens = opens.replace("PosixPath", "Path")
    owner = subprocess.Popen(
        [sys.executable, "-c", f"{opens}; print('has it', flush=True); import time; time.sleep(60)"],
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"has it\n"
    with pytest.raises(StartError, match=IN_USE.format(pid=owner.pid)):
        Store(place)
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 10
    while True:
        try:
            Store(place).close()
            return
        except StartError:  # PostgreSQL notices a moment later
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_other_names_of_a_gallery_are_the_same_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "data")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "other.db").symlink_to(tmp_path / "data" / "gallery.db")
    monkeypatch.chdir(tmp_path)
    names = [tmp_path / "link", Path("data"), "sqlite:///data/gallery.db", f"sqlite:///{tmp_path}/other.db"]
    for name in names:
        with pytest.raises(StartError, match="is in use"):
            Store(name)
    Store("sqlite:///data/another.db").close()
    store.close()


@pytest.mark.parametrize("is_served", [True, False])
def test_a_file_with_a_second_name_is_no_gallery(tmp_path: Path, is_served: bool) -> None:
    """Neither under its own name nor under the other, to a server or to a command beside it."""
    (tmp_path / "other").mkdir()
    first = Store(tmp_path / "data")
    enroll(first)
    if not is_served:
        first.close()
    (tmp_path / "other" / "gallery.db").hardlink_to(tmp_path / "data" / "gallery.db")
    for name in ("other", "data"):
        for beside in (False, True):
            with pytest.raises(StartError, match=rf"^\S+/{name}/gallery\.db has 2 names \(hard links\)"):
                Store(tmp_path / name, beside=beside)
    if is_served:
        enroll(first)  # it goes on
        first.close()
    (tmp_path / "other" / "gallery.db").unlink()
    again = Store(tmp_path / "data")
    assert again.items.count("s") == 1 + is_served
    again.close()


def test_schemas_of_one_postgresql_database_are_different_galleries(postgres: PostgresProcess) -> None:
    url = postgres.new_database()
    postgres.execute("CREATE SCHEMA north", url.rsplit("/", 1)[1])
    first, second = Store(url), Store(f"{url}?options=-csearch_path%3Dnorth")
    enroll(first)
    assert second.items.count("s") == 0
    first.close()
    second.close()


def test_an_owner_whose_lock_was_lost_writes_nothing_after_the_next_one(
    store: Store, place: str | Path
) -> None:
    enroll(store)
    if isinstance(place, Path):
        (place / "gallery.db.owner").unlink()
    else:
        _cut(place)
    second = Store(place)
    with pytest.raises(StoreUnavailable, match=r"another server has taken .* over"):
        enroll(store)
    assert store.owner is not None
    assert store.owner.lost.is_set()
    enroll(second)
    assert second.items.count("s") == 2
    second.close()


def test_an_owner_that_writes_nothing_notices_too(store: Store, tmp_path: Path, place: str | Path) -> None:
    if not isinstance(place, Path):
        _cut(place)
    else:
        (place / "gallery.db.owner").unlink()
    second = Store(place)
    assert store.owner is not None
    assert store.owner.lost.wait(10)
    second.close()


def test_an_owner_takes_a_lost_lock_again(postgres: PostgresProcess) -> None:
    url = postgres.new_database("gallery")
    store = Store(url)
    assert store.owner is not None
    _cut(url)
    store.owner.locks[0].keep()
    with pytest.raises(StartError, match="is in use"):
        Store(url)
    enroll(store)
    assert not store.owner.lost.is_set()
    store.close()


def _cut(url: str) -> None:
    """Ends every session of a PostgreSQL database, as a broken network does."""
    with sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:")).connect() as db:
        db.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).all()


def test_a_data_folder_belongs_to_one_server_whatever_its_store(place: str | Path, tmp_path: Path) -> None:
    first = Store(place, tmp_path / "folder")
    with pytest.raises(StartError, match=f"^data folder {tmp_path / 'folder'} is in use"):
        Store(f"sqlite:///{tmp_path}/other.db", tmp_path / "folder")
    first.close()
    Store(f"sqlite:///{tmp_path}/other.db", tmp_path / "folder").close()


def test_a_second_server_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    bundle, folder = make_tiny_bundle(tmp_path), tmp_path / "data"
    with (
        ServerProcess(bundle.path, folder, engine="onnxruntime") as server,
        Client(server.url) as client,
    ):
        assert server.process is not None
        client.enroll("lobby", [picture(i) for i in range(4)])
        with pytest.raises(RuntimeError, match=f"^resight: data folder {folder} is in use by process"):
            ServerProcess(bundle.path, folder).__enter__()
        assert len(client.query("lobby", picture(0)).matches) == 4
        assert len(_keys("list", folder)) == 0
        _keys("add", folder, "read")
        assert len(_keys("list", folder)) == 1

        (folder / "gallery.db.owner").unlink()  # the lock fails; see the module `owner`
        second = Store(folder)
        assert server.process.wait(60) == 1
        words = server.log.read_text().splitlines()[-1]
        assert words.startswith(f"resight: another server has taken data folder {folder} over")
        assert second.items.count("lobby") == 4
        second.close()


def _keys(verb: str, folder: Path, *words: str) -> list[str]:
    """The ids of keys that a `resight key` command prints."""
    result = CliRunner().invoke(app, ["key", verb, *words, "--data", str(folder)])
    assert result.exit_code == 0, result.output
    return [word for word in result.stdout.split() if word.startswith("key-")]


@pytest.mark.parametrize("words", [["list"], ["add", "read"], ["revoke", "key-1"]])
def test_key_commands_make_no_gallery(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: PostgresProcess
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero").mkdir()
    (tmp_path / "zero" / "gallery.db").touch()
    for folder in ("missing", "empty", "zero"):
        before = sorted(tmp_path.rglob("*"))
        _refused(
            ["--data", str(tmp_path / folder)],
            words,
            f"there is no gallery in data folder {tmp_path / folder};",
        )
        assert sorted(tmp_path.rglob("*")) == before
        assert not (tmp_path / "zero" / "gallery.db").stat().st_size
    url = postgres.new_database()
    monkeypatch.setenv("RESIGHT_STORE", url)
    _refused([], words, f"there is no gallery in store {url};")
    assert postgres.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", url[-20:]) == [(0,)]


def _refused(options: list[str], words: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["key", *words, *options])
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert sentence in result.stderr


def test_key_commands_take_a_store(place: str | Path, store: Store) -> None:
    url = place if isinstance(place, str) else f"sqlite:///{place}/gallery.db"
    result = CliRunner().invoke(app, ["key", "add", "write", "--store", url])
    assert result.exit_code == 0, result.output
    assert [row["scopes"] for row in store.keys.all()] == ["write"]
    shown = CliRunner().invoke(app, ["key", "list"], env={"RESIGHT_STORE": url}).stdout
    assert store.keys.all()[0]["id"] in shown


def test_key_commands_upgrade_a_gallery_that_nobody_serves(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "fixtures/gallery-schema-1.db", tmp_path / "gallery.db")
    assert _keys("list", tmp_path) == ["key-12345678"]
    store = Store(tmp_path)
    assert store.items.count("garage") == 2
    store.close()
