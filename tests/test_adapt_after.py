"""A site is adapted again by itself: when its schedule says so, one job at a time, never without crops."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from resight_client import Client, ResightError
from typer.testing import CliRunner

import server.schedule
from cli.app import app
from reid.bundle import Bundle
from server.errors import BadRequest, NotFound
from server.gallery import tables as t
from server.gallery.records import AdaptAfter, NewItem
from server.job import ENDED
from server.service import Service
from tests.tiny import make_tiny_bundle, open_tiny, picture, tiny_server


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that embeds in a moment."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """A service whose site `lobby` holds 20 crops of one camera."""
    opened = open_tiny(bundle, tmp_path / "data")
    enroll(opened, range(20))
    yield opened
    opened.close()


def enroll(service: Service, seeds: range, site: str = "lobby") -> None:
    """Enrolls pictures of one camera."""
    records = [NewItem(camera="door") for _ in seeds]
    asyncio.run(service.enrolling.enroll(site, [picture(i) for i in seeds], records))


def set_after(service: Service, items: int | None = None, hours: float | None = None) -> None:
    """Gives the site a schedule."""
    asyncio.run(service.schedule.set("lobby", items, hours))


def adaptations(service: Service) -> list[dict[str, object]]:
    """The requests of every adaptation that was begun, each of which has ended when this returns."""
    with service.store.database.read() as db:
        jobs = db.execute(sa.select(t.jobs.c.id, t.jobs.c.request).order_by(t.jobs.c.created_at)).all()
    until = time.monotonic() + 20
    while any(service.jobs.get(job.id).state not in ENDED for job in jobs):
        assert time.monotonic() < until
        time.sleep(0.005)
    return [job.request for job in jobs]


def hours_pass(service: Service, hours: float) -> None:
    """Whatever happened until now happened so much earlier."""
    earlier = hours * 3600
    with service.store.database.write() as db:
        for column in (t.jobs.c.created_at, t.sites.c.created_at, t.items.c.enrolled_at):
            db.execute(column.table.update().values({column: column - earlier}))


def test_no_site_is_adapted_by_itself_unless_somebody_says_so(service: Service) -> None:
    hours_pass(service, 10_000)
    service.schedule.run_due()
    assert adaptations(service) == []
    assert service.status.site(service.sites.get("lobby")).adapt_after is None


def test_a_site_is_adapted_after_so_many_new_crops_and_always_gated(service: Service) -> None:
    set_after(service, items=21)
    service.schedule.run_due()
    assert adaptations(service) == []
    enroll(service, range(20, 21))
    for _ in range(3):  # once, whatever came of it
        service.schedule.run_due()
        (request,) = adaptations(service)
    assert (request["tier"], request["gate"], request["scheduled"]) == ("auto", True, True)
    enroll(service, range(21, 41))
    service.schedule.run_due()
    assert len(adaptations(service)) == 1
    enroll(service, range(41, 42))
    service.schedule.run_due()
    assert len(adaptations(service)) == 2


def test_a_site_is_adapted_after_so_many_hours_if_any_crop_is_new(service: Service) -> None:
    set_after(service, hours=24)
    hours_pass(service, 23.9)
    service.schedule.run_due()
    assert adaptations(service) == []
    enroll(service, range(20, 21))
    hours_pass(service, 0.2)
    service.schedule.run_due()
    assert len(adaptations(service)) == 1
    hours_pass(service, 100)
    service.schedule.run_due()  # nothing is new
    assert len(adaptations(service)) == 1


def test_what_is_new_counts_from_any_adaptation(service: Service) -> None:
    set_after(service, items=20)
    asyncio.run(service.adapting.adapt("lobby", "0", gate=False))
    assert len(adaptations(service)) == 1
    service.schedule.run_due()
    assert len(adaptations(service)) == 1


def test_a_site_with_too_few_crops_waits_and_says_so(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    enroll(service, range(5), "yard")
    asyncio.run(service.schedule.set("yard", 5, None))
    with caplog.at_level(logging.INFO):
        service.schedule.run_due()
    assert (adaptations(service), caplog.records) == ([], [])
    told = service.status.site(service.sites.get("yard")).adapt_after
    assert told is not None
    assert told.waits == "site 'yard' has 5 items; an adaptation needs at least 16"
    enroll(service, range(5, 20), "yard")
    service.schedule.run_due()
    assert len(adaptations(service)) == 1
    told = service.status.site(service.sites.get("yard")).adapt_after
    assert told is not None
    assert told.waits is None


def test_a_site_never_has_two_jobs(service: Service) -> None:
    leave = threading.Event()
    service.jobs.start("lobby", "rollback", {}, lambda handle: leave.wait(20) and None)
    set_after(service, items=1)
    service.schedule.run_due()
    waits = service.sites.get("lobby").waits
    leave.set()
    assert waits is not None
    assert waits.startswith("site 'lobby' already has job")
    adaptations(service)
    service.schedule.run_due()
    assert len(adaptations(service)) == 2


def test_a_schedule_survives_a_restart_until_it_is_taken_away(
    service: Service, bundle: Bundle, tmp_path: Path
) -> None:
    set_after(service, items=500, hours=24)
    service.close()
    again = open_tiny(bundle, tmp_path / "data")
    assert again.sites.get("lobby").adapt_after == AdaptAfter(500, 24.0)
    set_after(again)
    assert again.sites.get("lobby").adapt_after is None
    again.close()
    last = open_tiny(bundle, tmp_path / "data")
    assert last.sites.get("lobby").adapt_after is None
    last.close()


def test_a_look_that_fails_is_not_the_last_one(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    looked_twice = threading.Event()

    def fail() -> None:
        looks.append(1)
        if len(looks) == 2:
            looked_twice.set()
        raise RuntimeError("broken")

    monkeypatch.setattr(server.schedule, "CHECK_S", 0.005)
    monkeypatch.setattr(service.schedule, "run_due", fail)
    service.schedule.start()
    assert looked_twice.wait(10)


def test_a_site_that_cannot_be_measured_again_keeps_none_waiting(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(site: object) -> None:
        raise IndexError("boolean index")

    monkeypatch.setattr(service.calibrating, "renew", fail)
    set_after(service, items=20)
    service.schedule.run_due()
    assert len(adaptations(service)) == 1


def test_a_schedule_out_of_bounds_is_refused(service: Service) -> None:
    for items, hours, told in (
        (0, None, "items is 0; it must lie between 1 and 1000000000"),
        (10**9 + 1, None, "items is 1000000001"),
        (None, 0.05, "hours is 0.05; it must lie between 0.1 and 8760"),
        (None, float("nan"), "hours is nan"),
        (None, float("inf"), "hours is inf"),
    ):
        with pytest.raises(BadRequest, match=told):
            set_after(service, items, hours)
    with pytest.raises(NotFound, match="there is no site 'nowhere'"):
        asyncio.run(service.schedule.set("nowhere", 1, None))
    assert service.sites.get("lobby").adapt_after is None


def test_client_and_command_line_set_it_and_the_server_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> str:
        ended = CliRunner().invoke(app, ["adapt-after", "--site", "lobby", "--server", running.url, *words])
        return ended.output if ended.exit_code == 0 else f"failed: {ended.output}"

    with tiny_server(tmp_path) as running, Client(running.url) as client:
        client.enroll("lobby", [picture(0)])
        after = client.adapt_after("lobby", items=500).adapt_after
        assert after is not None
        assert (after.items, after.hours, after.waits) == (500, None, None)
        assert run() == "site lobby is adapted after 500 new items\n"
        assert run("--items", "1", "--hours", "24") == (
            "site lobby is adapted after 1 new items or after 24 hours\n"
        )
        assert run("--off", "--items", "3").startswith("failed: ")
        assert "--items is 0; it must lie between 1 and" in run("--items", "0")
        with pytest.raises(ResightError, match="hours"):
            client.adapt_after("lobby", hours=0.01)
        put = httpx.put(f"{running.url}/sites/lobby/adapt-after", json={"items": 5, "ours": 3})
        assert put.status_code == 400
        assert "ours" in put.text
        until = time.monotonic() + 10
        while "it waits: site 'lobby' has 1 items; an adaptation needs at least 16" not in run():
            assert time.monotonic() < until
            time.sleep(0.2)
        assert run("--off") == "site lobby is not adapted by itself\n"
        assert client.site("lobby").adapt_after is None
