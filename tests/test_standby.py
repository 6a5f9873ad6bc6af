"""A standby waits while another server has the gallery, takes it over, and loses nothing."""

from __future__ import annotations

import functools
import threading
import time
from pathlib import Path

import pytest
from resight_client import Client

from benchmarks.failover import failover
from benchmarks.postgres import PostgresProcess
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle
from server.errors import StartError, StoreAway
from server.gallery.store import Store
from server.settings import Settings
from server.standby import open_when_free
from tests.tiny import SPREAD, make_tiny_bundle, picture


def settings(place: str | Path, folder: Path) -> Settings:
    """Of a standby over this store; its bundle is not looked at."""
    if isinstance(place, Path):
        return Settings(bundle=folder, data=place, standby=True)
    return Settings(bundle=folder, data=folder / "standby", store=place, standby=True)


@functools.cache
def _bundle() -> Bundle:
    return Bundle.load(DEMO)


class Waiting:
    """A thread that opens a store when it is free."""

    def __init__(self, given: Settings) -> None:
        self.store: Store | None = None
        self.error: BaseException | None = None
        self.given = given
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.store = open_when_free(self.given, _bundle())
        except BaseException as error:
            self.error = error

    def joined(self) -> Store | None:
        """The store, once it is there."""
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.store


def test_a_standby_has_the_gallery_only_when_the_server_before_has_ended(
    place: str | Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Store(place)
    waiting = Waiting(settings(place, tmp_path))
    time.sleep(1.2)
    assert waiting.store is None
    assert waiting.error is None
    assert [line.message for line in caplog.records if "is in use by process" in line.message]
    assert "stop that server" not in caplog.text
    first.close()
    store = waiting.joined()
    assert store is not None
    assert "taking over" in caplog.text
    store.close()


def test_a_standby_of_a_free_gallery_starts_at_once_and_says_nothing(
    place: str | Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_when_free(settings(place, tmp_path), _bundle()).close()
    assert "standby" not in caplog.text


def test_a_standby_whose_database_is_wrong_from_the_start_says_so(tmp_path: Path) -> None:
    waiting = Waiting(settings("postgresql://resight@127.0.0.1:1/none", tmp_path))
    assert waiting.joined() is None
    assert isinstance(waiting.error, StoreAway)


def test_a_standby_waits_for_a_database_that_goes_away_while_it_waits(
    postgres: PostgresProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = postgres.new_database()
    first = Store(place)
    waiting = Waiting(settings(place, tmp_path))
    time.sleep(0.8)
    postgres.stop()
    first.close()
    time.sleep(1.5)
    assert waiting.thread.is_alive()
    postgres.start()
    store = waiting.joined()
    assert store is not None
    store.close()


def test_a_standby_makes_no_gallery_where_the_one_it_waited_for_is_gone(tmp_path: Path) -> None:
    first = Store(tmp_path / "data")
    waiting = Waiting(settings(tmp_path / "data", tmp_path))
    time.sleep(0.8)
    (tmp_path / "data").rename(tmp_path / "away")
    assert waiting.joined() is None
    assert "is gone from" in str(waiting.error)
    assert not (tmp_path / "data" / "gallery.db").exists()
    first.close()


def test_a_standby_whose_role_may_not_use_the_gallery_ends_when_that_one_is_free(
    postgres: PostgresProcess, tmp_path: Path
) -> None:
    place = postgres.new_database()
    first = Store(place)
    postgres.execute("CREATE ROLE stranger LOGIN")
    waiting = Waiting(settings(place.replace("resight@", "stranger@"), tmp_path))
    time.sleep(1.2)
    first.close()
    assert waiting.joined() is None
    assert "permission denied" in str(waiting.error)


def test_a_standby_with_another_model_ends_before_it_could_end_the_server(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    one = make_tiny_bundle(tmp_path / "one").path
    other = make_tiny_bundle(tmp_path / "other", spread=2 * SPREAD).path
    with ServerProcess(one, tmp_path / "data", grpc_port=0) as first:
        with Client(first.url) as client:
            client.enroll("lobby", [picture(0)])
        standby = ServerProcess(other, tmp_path / "data", grpc_port=0, standby="true")
        standby.log = tmp_path / "standby.log"
        standby.start()
        assert standby.process is not None
        assert standby.process.wait(60) == 1
        assert "was enrolled with another model than" in standby.log.read_text()
        assert first.is_ready()


def test_a_standby_does_not_wait_for_what_waiting_does_not_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    waiting = Waiting(settings(tmp_path / "file", tmp_path))
    assert waiting.joined() is None
    assert isinstance(waiting.error, StartError)
    assert "cannot be used" in str(waiting.error)


def test_a_standby_listens_on_no_port_and_ends_when_it_is_told(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path).path
    with ServerProcess(bundle, tmp_path / "data", grpc_port=0) as first:
        standby = ServerProcess(bundle, tmp_path / "data", grpc_port=0, standby="true")
        standby.log = tmp_path / "standby.log"
        standby.start()
        until = time.perf_counter() + 60
        while "waiting until the gallery is free" not in standby.log.read_text():
            assert time.perf_counter() < until
            time.sleep(0.05)
        assert not standby.is_ready()
        assert first.is_ready()
        assert standby.process is not None
        standby.process.terminate()
        assert standby.process.wait(10) == 0
        assert first.is_ready()


def test_a_standby_on_the_same_ports_answers_where_the_first_one_did(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path).path
    with ServerProcess(bundle, tmp_path / "data") as first:
        ports = {"port": first.port, "grpc_port": first.grpc_port}
        standby = ServerProcess(bundle, tmp_path / "data", standby="true", **ports)
        standby.url, standby.log = first.url, tmp_path / "standby.log"
        standby.start()
        until = time.perf_counter() + 60
        while "waiting until the gallery is free" not in standby.log.read_text():
            assert time.perf_counter() < until
            time.sleep(0.05)
        first.kill()
        standby.wait_until_ready()
        standby.kill()


def test_nothing_acknowledged_is_lost_when_a_standby_takes_over(
    postgres: PostgresProcess, tmp_path: Path
) -> None:
    bundle = make_tiny_bundle(tmp_path).path
    result = failover(bundle, tmp_path, postgres, rounds=3, crowd=80)
    assert result.clean
    assert result.rounds == 3
    assert result.taken_over >= 1
    assert result.acknowledged > 0
