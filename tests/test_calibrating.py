"""Measuring what scores mean, on request: sites beside each other, in order at one site, and until the server
ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from server.calibration import of_labels
from server.errors import Conflict, NotFound, Stopping
from server.fields.calibration import Labels
from server.reports import CalibrationReport
from server.service import Service
from server.sites import Site
from tests.test_calibration_labels import ONE_CAMERA, PEOPLE, TWO_CAMERAS, enroll
from tests.tiny import make_tiny_bundle, open_tiny

IN_TIME_S = 20


class Door:
    """A site's lock that says when somebody stands before it."""

    def __init__(self) -> None:
        self.lock, self.came = threading.RLock(), threading.Event()

    def __enter__(self) -> None:
        self.came.set()
        self.lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self.lock.release()


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two sites. Who holds the lock of one keeps its measurement from being stored."""
    folder = tmp_path_factory.mktemp("calibrating")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    enroll(opened, ONE_CAMERA, [(person, 0, number) for person in range(PEOPLE) for number in range(3)])
    enroll(opened, TWO_CAMERAS, [(p, c, n) for p in range(PEOPLE) for c in (0, 1) for n in (0, 1)])
    yield opened
    opened.close()


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    """Threads that wait for answers."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def asked(clients: ThreadPoolExecutor, service: Service, site: str, labels: str) -> Future[CalibrationReport]:
    """What calibrating will answer, once the service has heard of it."""
    heard = threading.Event()

    async def ask() -> CalibrationReport:
        task = asyncio.create_task(service.calibrating.calibrate(site, labels))
        await asyncio.sleep(0)
        heard.set()
        return await task

    future = clients.submit(lambda: asyncio.run(ask()))
    assert heard.wait(IN_TIME_S)
    return future


def held_up(site: Site) -> Door:
    """The site's lock, which the test may hold from now on."""
    door = Door()
    site.lock = door  # type: ignore[assignment]
    return door


def labels_of(service: Service, site: str) -> str | None:
    """By which labels the live version was measured, as the store has it."""
    live = next(version for version in service.store.versions.live() if version.site == site)
    assert live == service.sites.get(site).state.version
    measured = (live.calibration or {}).get("measured")
    return measured["labels"] if measured else None


def test_a_site_is_measured_while_the_measurement_of_another_has_not_ended(
    service: Service, clients: ThreadPoolExecutor
) -> None:
    with service.sites.get(ONE_CAMERA).lock:
        several = [asked(clients, service, ONE_CAMERA, "all") for _ in range(6)]
        assert asked(clients, service, TWO_CAMERAS, "identity").result(IN_TIME_S).measured is not None
        assert labels_of(service, TWO_CAMERAS) == "identity"
        assert not any(future.done() for future in several)
    for future in several:
        assert future.result(IN_TIME_S).measured is not None


def test_what_is_asked_of_one_site_is_measured_in_order(
    service: Service, clients: ThreadPoolExecutor
) -> None:
    with service.sites.get(ONE_CAMERA).lock:
        kinds = ("tracklets", "all", "identity", "tracklets", "all")
        several = [asked(clients, service, ONE_CAMERA, labels) for labels in kinds]
    with pytest.raises(Conflict):  # too few: the others are measured all the same
        several[2].result(IN_TIME_S)
    several[4].result(IN_TIME_S)
    assert all(future.done() for future in several)
    assert labels_of(service, ONE_CAMERA) == "all"


def test_nothing_is_stored_once_the_server_ends_and_who_waits_is_told(
    service: Service, clients: ThreadPoolExecutor
) -> None:
    door = held_up(service.sites.get(ONE_CAMERA))
    with door.lock:
        running, waiting = (asked(clients, service, ONE_CAMERA, labels) for labels in ("all", "tracklets"))
        assert door.came.wait(IN_TIME_S)  # all that is left is to store it
        service.calibrating.stop()
        with pytest.raises(Stopping):
            waiting.result(IN_TIME_S)  # not after the one before
        with pytest.raises(Stopping):
            asked(clients, service, TWO_CAMERAS, "identity").result(IN_TIME_S)
    with pytest.raises(Stopping):
        running.result(IN_TIME_S)
    assert labels_of(service, ONE_CAMERA) is None
    service.close()


def test_a_server_that_ends_does_not_wait_for_the_schedule_to_measure_a_grown_gallery(
    service: Service, clients: ThreadPoolExecutor
) -> None:
    before = asyncio.run(service.calibrating.calibrate(TWO_CAMERAS, "identity"))
    enroll(service, TWO_CAMERAS, [(100 + p, c, 0) for p in range(PEOPLE) for c in (0, 1)])
    site = service.sites.get(TWO_CAMERAS)
    waits = threading.Event()

    def blocked() -> None:
        waits.set()
        service.calibrating.renew(site)

    with site.lock:  # the queue is held up by another measurement
        asked(clients, service, TWO_CAMERAS, "all")
        renewing = clients.submit(blocked)
        assert waits.wait(IN_TIME_S)
        service.calibrating.stop()
        renewing.result(IN_TIME_S)
    assert site.last_measured == len(site.state.index)  # it was due
    calibration = service.status.site(site).calibration
    assert calibration is not None and calibration.slope == before.slope


def test_a_site_that_is_deleted_is_not_measured_on(service: Service, clients: ThreadPoolExecutor) -> None:
    site = service.sites.get(ONE_CAMERA)
    door = held_up(site)
    with door.lock:
        running = asked(clients, service, ONE_CAMERA, "all")
        assert door.came.wait(IN_TIME_S)
        site.deleted = True
    with pytest.raises(NotFound, match="deleted"):
        running.result(IN_TIME_S)


@pytest.mark.parametrize(
    ("site", "labels", "steps"),
    [(TWO_CAMERAS, "identity", 4), (ONE_CAMERA, "all", 5), (ONE_CAMERA, "tracklets", 4)],
)
def test_a_measurement_ends_at_any_of_its_steps(
    service: Service, site: str, labels: Labels, steps: int
) -> None:
    state = service.sites.get(site).state
    spaces = state.version.space_id, state.version.raw_space_id

    def measured(may_go_on: int) -> None:
        left = iter(range(may_go_on))

        def check() -> None:
            if next(left, None) is None:
                raise Stopping("the server is stopping")

        of_labels(service.store, site, state.compare, *spaces, labels, check=check)

    for number in range(steps):
        with pytest.raises(Stopping):
            measured(number)
    measured(steps)
