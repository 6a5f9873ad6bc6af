"""Long work: one job at a time, with progress, cancelling and a row in the store; others queue, one a site.

A job that a client cancels is `cancelled`. A job that the end of the server cuts off, orderly or not, is
started again by the next start, unless that has happened `MAX_ATTEMPTS` times without an orderly stop: the
job itself may be what ends the server.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from server.errors import BadRequest, Conflict, NotFound, Problem, Stopping
from server.fields import is_id
from server.gallery.store import Store
from server.job import ENDED, Cancelled, Declined, Interrupted, Job

log = logging.getLogger("resight")
MAX_ATTEMPTS = 3  # times that a job is begun


class Handle:
    """What the work sees of its job."""

    def __init__(self, job: Job, runner: Jobs) -> None:
        self.job, self.runner = job, runner
        self.cancelled = self.interrupted = False
        self.future: Future[None] | None = None  # of the thread that runs the work

    def check(self) -> None:
        """Raises Cancelled or Interrupted when the work should end."""
        if self.cancelled:
            raise Cancelled
        if self.interrupted:
            raise Interrupted

    def step(self, progress: float, stage: str) -> None:
        """Reports how far the work is. Raises Cancelled or Interrupted when it should end."""
        self.check()
        self.runner.change(self.job, progress=round(progress, 4), stage=stage)

    def keep_report(self) -> None:
        """Writes the report so far to the store: what a later attempt can go on from."""
        self.check()
        self.runner.store.jobs.save({"id": self.job.id, "report": self.job.row()["report"]})


Work = Callable[[Handle], None]


class Jobs:
    """Runs jobs in a thread of its own.

    Args:
        clean: called when the row of a job says how it ended, unless the next start takes it up again.
    """

    def __init__(self, store: Store, clean: Callable[[], None] = lambda: None) -> None:
        self.store, self.clean = store, clean
        self.handles: dict[str, Handle] = {}
        self.lock = threading.Lock()  # of `handles`, jobs and listeners; never held while the store works
        self.stopping = False
        self.closed_to: set[str] = set()  # sites that are being deleted
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="job")
        self.listeners: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[Job]]]] = {}

    def start(self, site: str, kind: str, request: dict[str, Any], work: Work) -> Job:
        """Queues work. Raises Conflict while the site has an open job, Stopping when the server ends."""
        job = Job(uuid.uuid4().hex, site, kind, request)
        queued = job.snapshot()
        try:
            self._queue(job, work)
        except Stopping:
            self.store.jobs.cancel(job.id)  # the caller was refused, so the next start must not begin it
            raise
        return queued

    def resume(self, work_of: Callable[[Job], Work]) -> None:
        """Queues the jobs again that the last stop of the server cut off; called once, at start.

        Args:
            work_of: the work of a job by its request. What it raises fails the job.
        """
        for row in self.store.jobs.unfinished():
            job = Job.of_row(row)
            try:
                if job.attempts >= MAX_ATTEMPTS:
                    raise Conflict(
                        f"the server ended {job.attempts} times while this job ran, so it is not begun "
                        f"again; the site kept its version"
                    )
                work = work_of(job)
                job.state, job.progress, job.stage = "queued", 0.0, "queued"
                self._queue(job, work)
            except Stopping:
                return
            except Exception as error:  # one job that cannot go on must not keep the server from starting
                job.state, job.stage, job.report.error = "failed", "interrupted", _sentence(error)
                self.store.jobs.save(job.row())
                log.warning("job %s is not started again: %s", job.id, job.report.error)
            else:
                log.warning("job %s at site %s was interrupted and is started again", job.id, job.site)

    def get(self, job_id: str) -> Job:
        """A job by id, of this process or of the store. May read the store. Raises NotFound, and BadRequest
        for an empty id."""
        if not job_id:
            raise BadRequest("job is empty; name the job")
        with self.lock:
            handle = self.handles.get(job_id)
            if handle is not None:
                return handle.job.snapshot()
        row = self.store.jobs.get(job_id) if is_id(job_id) else None
        if row is None:
            raise NotFound(f"there is no job {job_id[:80]!r}")
        return Job.of_row(row)

    def cancel(self, job_id: str) -> Job:
        """Asks a job to end; the site keeps its version. A job that has ended stays as it is.

        When this has returned, no later start takes the job up again. Writes to the store.
        """
        with self.lock:
            handle = self.handles.get(job_id)
            if handle is not None:
                handle.cancelled = True
        if handle is not None:
            self.store.jobs.cancel(job_id)
            if handle.future is not None and handle.future.cancel():  # it waited for another job
                self._forget(handle, "cancelled")
        return self.get(job_id)

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """The job now, and after every change until it has ended. Raises NotFound."""
        queue: asyncio.Queue[Job] = asyncio.Queue()
        listener = (asyncio.get_running_loop(), queue)
        with self.lock:  # together: no change is missed between the two, and none comes twice
            handle = self.handles.get(job_id)
            job = handle.job.snapshot() if handle is not None else None
            if job is not None:
                self.listeners.setdefault(job_id, []).append(listener)
        if job is None:
            yield await asyncio.to_thread(self.get, job_id)
            return
        try:
            yield job
            while job.state not in ENDED:
                job = await queue.get()
                yield job
        finally:
            with self.lock:
                self.listeners[job_id].remove(listener)
                if not self.listeners[job_id]:
                    del self.listeners[job_id]

    @contextmanager
    def none_at(self, site: str) -> Iterator[None]:
        """No job of the site begins within. Raises Conflict while one has not ended."""
        with self.lock:
            self._require_none(site)
            self.closed_to.add(site)
        try:
            yield
        finally:
            with self.lock:
                self.closed_to.discard(site)

    def change(self, job: Job, **values: Any) -> None:
        """Changes a job and tells its listeners."""
        with self.lock:
            for name, value in values.items():
                setattr(job, name, value)
            for loop, queue in self.listeners.get(job.id, []):
                loop.call_soon_threadsafe(queue.put_nowait, job.snapshot())

    def stop_all(self) -> None:
        """Interrupts every job, so that those who watch them are let go. Does not wait for them."""
        with self.lock:
            self.stopping = True
            handles = list(self.handles.values())
            for handle in handles:
                handle.interrupted = True
        for handle in handles:
            if handle.future is not None and handle.future.cancel():  # its row stays queued
                self._forget(handle, "interrupted")

    def close(self) -> None:
        """Interrupts what runs and waits for it."""
        self.stop_all()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _queue(self, job: Job, work: Work) -> None:
        handle = Handle(job, self)
        with self.lock:
            if self.stopping:
                raise Stopping("the server is stopping")
            if job.site in self.closed_to:
                raise NotFound(f"site {job.site!r} is being deleted")
            self._require_none(job.site)
            self.handles[job.id] = handle
        try:
            self.store.jobs.save(job.row())
            with self.lock:
                if self.stopping:  # the row is written: the next start takes it up
                    raise Stopping("the server is stopping")
                handle.future = self.pool.submit(self._run, handle, work)
        except BaseException:
            with self.lock:
                del self.handles[job.id]
            raise

    def _require_none(self, site: str) -> None:
        """Raises Conflict while the site has a job that has not ended. The lock is held."""
        for other in self.handles.values():
            if other.job.site == site and other.job.state not in ENDED:
                raise Conflict(
                    f"site {site!r} already has job {other.job.id} ({other.job.kind}); wait for it or cancel "
                    f"it",
                    job=other.job.id,
                )

    def _run(self, handle: Handle, work: Work) -> None:
        job, state, begun = handle.job, "succeeded", False
        try:
            handle.check()
            if not self.store.jobs.begin(job.id):
                raise Cancelled
            begun = True
            self.change(job, state="running", attempts=job.attempts + 1)
            handle.step(0.0, "starting")
            work(handle)
        except Cancelled:
            state = "cancelled"
        except (Interrupted, Stopping):
            state, job.attempts = "interrupted", job.attempts - begun
        except Declined as why:
            state, job.report.reason = "declined", str(why)
        except Exception as error:  # a job must end in a state, whatever happened
            state, job.report.error = "failed", _sentence(error)
            log.exception("job %s failed", job.id)
        self._end(handle, state)

    def _end(self, handle: Handle, state: str) -> None:
        """Writes how a job ended, cleans up after it and tells the listeners."""
        ended = handle.job.snapshot(**handle.job.changes_at_end(state))
        try:
            if state == "interrupted":
                self.store.jobs.interrupt(ended.row())
            else:
                self.store.jobs.save(ended.row())
        except Exception:  # a full disk must not leave the site with a job that never ends
            log.exception("the end of job %s could not be written", ended.id)
            changes = handle.job.changes_at_end(state)
            self.change(handle.job, **changes)  # this process goes on answering for it
            return
        if state != "interrupted":
            try:
                self.clean()
            except Exception:  # what is left is removed after the next job or at the next start
                log.exception("what job %s left behind could not be removed", ended.id)
        self._forget(handle, state)

    def _forget(self, handle: Handle, state: str) -> None:
        """Tells the listeners that a job has ended; the store answers for it from now on."""
        self.change(handle.job, **handle.job.changes_at_end(state))
        with self.lock:
            self.handles.pop(handle.job.id, None)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            "the disk of the data folder is full; free some space and start this again; the site kept its "
            "version"
        )
    return error.detail if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
