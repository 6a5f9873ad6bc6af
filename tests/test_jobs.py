"""Jobs: cancelled ones stay cancelled, interrupted ones go on, and none that ends the server goes on for
ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.errors import Conflict, NotFound, Stopping
from server.gallery.store import Store
from server.job import Job
from server.jobs import MAX_ATTEMPTS, Handle, Jobs, Work


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store without sites: a job's row names one, but nothing looks for it."""
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def jobs(store: Store) -> Iterator[Jobs]:
    """A runner."""
    made = Jobs(store)
    yield made
    made.close()


class Waiting:
    """Work that goes on until its gate opens or its job should end."""

    def __init__(self) -> None:
        self.begun, self.gate = threading.Event(), threading.Event()

    def __call__(self, handle: Handle) -> None:
        self.begun.set()
        while not self.gate.is_set():
            handle.step(0.5, "waiting")
            time.sleep(0.005)


def state_of(jobs: Jobs, job: Job, *states: str) -> Job:
    """The job, as soon as it is in one of these states and its thread has let it go."""
    until = time.monotonic() + 30
    while jobs.get(job.id).state not in states or (states[0] != "running" and job.id in jobs.handles):
        assert time.monotonic() < until, jobs.get(job.id)
        time.sleep(0.005)
    return jobs.get(job.id)


def kept(store: Store, state: str, attempts: int = 1, site: str = "hall") -> Job:
    """A job as a killed server leaves it."""
    job = Job("job-" + site, site, "adapt", {"seed": 7}, state=state, attempts=attempts)
    store.jobs.save(job.row())
    return job


def resumed_with(jobs: Jobs, work: Work) -> list[Job]:
    """Jobs that a start takes up again."""
    taken: list[Job] = []

    def work_of(job: Job) -> Work:
        taken.append(job)
        return work

    jobs.resume(work_of)
    return taken


@pytest.mark.parametrize("state", ["queued", "running", "interrupted"])
def test_a_job_that_a_crash_cut_off_is_begun_again_from_its_request(
    jobs: Jobs, store: Store, state: str
) -> None:
    job = kept(store, state)
    assert [taken.request for taken in resumed_with(jobs, lambda handle: None)] == [{"seed": 7}]
    ended = state_of(jobs, job, "succeeded")
    assert (ended.id, ended.attempts) == (job.id, 2)
    assert store.jobs.get(job.id)["attempts"] == 2  # type: ignore[index]


def test_a_job_that_is_begun_again_has_done_nothing_yet(jobs: Jobs, store: Store) -> None:
    for site in ("door", "hall"):
        cut_off = Job("job-" + site, site, "adapt", {}, "running", 0.7, "adapting", attempts=1)
        store.jobs.save(cut_off.row())
    work = Waiting()
    first, second = resumed_with(jobs, work)
    work.begun.wait(10)
    waiting = jobs.get(second.id)
    assert (waiting.state, waiting.progress, waiting.stage) == ("queued", 0, "queued")
    work.gate.set()
    assert state_of(jobs, first, "succeeded") and state_of(jobs, second, "succeeded")


def test_a_job_that_ends_the_server_again_and_again_is_given_up(jobs: Jobs, store: Store) -> None:
    job, other = kept(store, "running", MAX_ATTEMPTS), kept(store, "running", 1, "door")
    assert [taken.id for taken in resumed_with(jobs, lambda handle: None)] == [other.id]
    given_up = jobs.get(job.id)
    assert (given_up.state, given_up.stage) == ("failed", "interrupted")
    assert f"the server ended {MAX_ATTEMPTS} times while this job ran" in str(given_up.report.error)
    assert state_of(jobs, other, "succeeded")


@pytest.mark.parametrize("state", ["succeeded", "declined", "failed", "cancelled"])
def test_a_job_that_has_ended_is_not_begun_again(jobs: Jobs, store: Store, state: str) -> None:
    job = kept(store, state)
    assert resumed_with(jobs, lambda handle: None) == []
    assert jobs.get(job.id).state == state


def test_a_job_that_cannot_go_on_fails_with_the_reason_and_the_others_go_on(jobs: Jobs, store: Store) -> None:
    lost, fine = kept(store, "running"), kept(store, "running", 1, "door")

    def work_of(job: Job) -> Work:
        if job.site == "hall":
            raise NotFound("there is no site 'hall'")
        return lambda handle: None

    jobs.resume(work_of)
    assert (jobs.get(lost.id).state, jobs.get(lost.id).report.error) == ("failed", "there is no site 'hall'")
    assert state_of(jobs, fine, "succeeded")


def test_what_the_work_reports_is_seen(jobs: Jobs) -> None:
    work = Waiting()
    job = jobs.start("hall", "adapt", {}, work)
    until = time.monotonic() + 30
    while (seen := jobs.get(job.id)).stage != "waiting":
        assert time.monotonic() < until, seen
        time.sleep(0.005)
    assert (seen.state, seen.progress) == ("running", 0.5)
    work.gate.set()


def test_an_attempt_is_counted_before_the_work_begins(jobs: Jobs, store: Store) -> None:
    work = Waiting()
    job = jobs.start("hall", "adapt", {}, work)
    work.begun.wait(10)
    row = store.jobs.get(job.id)
    assert row is not None and (row["state"], row["attempts"]) == ("running", 1)
    work.gate.set()


def test_a_cancelled_job_is_cancelled_in_the_store_before_the_client_hears_of_it(
    jobs: Jobs, store: Store
) -> None:
    stuck = threading.Event()
    job = jobs.start("hall", "adapt", {}, lambda handle: (stuck.wait(30), handle.check())[1])
    state_of(jobs, job, "running")
    assert jobs.cancel(job.id).state == "running"  # it has not noticed yet
    assert store.jobs.unfinished() == []  # but a crash now would not bring it back
    stuck.set()
    assert state_of(jobs, job, "cancelled")


def test_a_job_that_waits_for_another_is_cancelled_at_once(jobs: Jobs) -> None:
    first, ran = Waiting(), threading.Event()
    jobs.start("hall", "adapt", {}, first)
    waiting = jobs.start("door", "adapt", {}, lambda handle: ran.set())
    assert jobs.cancel(waiting.id).state == "cancelled"
    again = jobs.start("door", "adapt", {}, lambda handle: None)  # the site is free
    first.gate.set()
    assert state_of(jobs, again, "succeeded")
    assert not ran.is_set()


def test_stopping_interrupts_jobs_lets_watchers_go_and_the_next_start_goes_on(store: Store) -> None:
    jobs, work = Jobs(store), Waiting()
    running, waiting = jobs.start("hall", "adapt", {}, work), jobs.start("door", "adapt", {}, work)
    work.begun.wait(10)

    async def watch(job: Job) -> list[str]:
        return [seen.state async for seen in jobs.watch(job.id)]

    async def main() -> list[list[str]]:
        watching = [asyncio.create_task(watch(job)) for job in (running, waiting)]
        while len(jobs.listeners) < 2:
            await asyncio.sleep(0.005)
        jobs.stop_all()
        return await asyncio.wait_for(asyncio.gather(*watching), 30)

    assert [states[-1] for states in asyncio.run(main())] == ["interrupted", "interrupted"]
    jobs.close()
    with pytest.raises(Stopping):
        jobs.start("roof", "adapt", {}, work)
    # An orderly stop is no attempt that failed, however often it happens.
    assert [(row["id"], row["attempts"]) for row in store.jobs.unfinished()] == [
        (running.id, 0),
        (waiting.id, 0),
    ]
    following = Jobs(store)
    assert len(resumed_with(following, lambda handle: None)) == 2
    assert state_of(following, running, "succeeded").attempts == 1
    assert state_of(following, waiting, "succeeded")
    following.close()


def test_a_job_that_a_client_cancels_while_the_server_stops_stays_cancelled(store: Store) -> None:
    jobs, stuck = Jobs(store), threading.Event()
    job = jobs.start("hall", "adapt", {}, lambda handle: (stuck.wait(30), handle.check())[1])
    state_of(jobs, job, "running")
    jobs.stop_all()
    jobs.cancel(job.id)
    stuck.set()
    jobs.close()
    assert store.jobs.unfinished() == []


def test_a_site_is_free_again_although_the_end_of_its_job_could_not_be_written(
    jobs: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Waiting()
    job = jobs.start("hall", "adapt", {}, work)
    work.begun.wait(10)
    with pytest.raises(Conflict, match=job.id):
        jobs.start("hall", "adapt", {}, work)

    def full(values: dict[str, object]) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store.jobs, "save", full)
        work.gate.set()
        until = time.monotonic() + 30  # the row could not be written, so the process goes on saying it
        while jobs.get(job.id).state != "succeeded":
            assert time.monotonic() < until
            time.sleep(0.005)
    assert state_of(jobs, jobs.start("hall", "adapt", {}, lambda handle: None), "succeeded")


def test_cleaning_up_comes_after_the_row_says_that_the_job_has_ended(store: Store) -> None:
    seen: list[int] = []
    jobs = Jobs(store, clean=lambda: seen.append(len(store.jobs.unfinished())))

    def fail(handle: Handle) -> None:
        raise RuntimeError("nothing works")

    works: list[Callable[[Handle], None]] = [fail, lambda handle: None]
    for work in works:
        state_of(jobs, jobs.start("hall", "adapt", {}, work), "failed", "succeeded")
    assert seen == [0, 0]
    jobs.close()
