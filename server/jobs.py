"""Long work: one job a site at a time, one at a time in the process, with progress, cancelling and a row in
the store."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from server.errors import Conflict, NotFound, Problem
from server.gallery.store import Store
from server.reports import JobReport

log = logging.getLogger("resight")
ENDED = ("succeeded", "declined", "failed", "cancelled")


class Cancelled(Exception):
    """Somebody cancelled the job."""


class Declined(Exception):
    """The job looked and decided not to change the site; says why."""


@dataclasses.dataclass
class Job:
    """A job's state."""

    id: str
    site: str
    kind: str  # adapt | rollback
    request: dict[str, Any]
    state: str = "queued"  # queued | running | succeeded | declined | failed | cancelled
    progress: float = 0.0
    stage: str = "queued"
    report: JobReport = dataclasses.field(default_factory=JobReport)
    version: int | None = None  # of the site, when the job made one
    created_at: float = dataclasses.field(default_factory=time.time)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Job:
        """A job that the store kept."""
        return cls(**(row | {"report": JobReport.model_validate(row["report"])}))

    def row(self) -> dict[str, Any]:
        """The job as the store keeps it."""
        # through JSON: a loss that is no number becomes null, which every database takes
        return vars(self) | {"report": json.loads(self.report.model_dump_json())}

    def snapshot(self) -> Job:
        """A copy that stays as it is while the job goes on."""
        return dataclasses.replace(self, report=self.report.model_copy(deep=True))


class Handle:
    """What the work sees of its job."""

    def __init__(self, job: Job, runner: Jobs) -> None:
        self.job, self.runner, self.stop = job, runner, threading.Event()

    def step(self, progress: float, stage: str) -> None:
        """Tells how far the work is. Raises Cancelled when it should end."""
        if self.stop.is_set():
            raise Cancelled
        self.job.progress, self.job.stage = round(progress, 4), stage
        self.runner.publish(self.job)


class Jobs:
    """Runs jobs in a thread of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.handles: dict[str, Handle] = {}
        self.lock = threading.Lock()
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="job")
        self.listeners: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[Job]]]] = {}

    def start(self, site: str, kind: str, request: dict[str, Any], work: Callable[[Handle], None]) -> Job:
        """Queues work. Raises Conflict while the site has an open job."""
        with self.lock:
            for handle in self.handles.values():
                if handle.job.site == site and handle.job.state not in ENDED:
                    raise Conflict(
                        f"site {site!r} already has job {handle.job.id} ({handle.job.kind}); wait for it or "
                        f"cancel it",
                        job=handle.job.id,
                    )
            job = Job(uuid.uuid4().hex, site, kind, request)
            handle = self.handles[job.id] = Handle(job, self)
            self.store.jobs.save(job.row())
        self.pool.submit(self._run, handle, work)
        return job.snapshot()

    def get(self, job_id: str) -> Job:
        """A job by id, of this process or of the store. Raises NotFound."""
        handle = self.handles.get(job_id)
        if handle is not None:
            return handle.job.snapshot()
        row = self.store.jobs.get(job_id) if job_id.isalnum() else None
        if row is None:
            raise NotFound(f"there is no job {job_id[:80]!r}")
        return Job.of_row(row)

    def cancel(self, job_id: str) -> Job:
        """Asks a job to end; the site keeps its version. A job that has ended stays as it is."""
        handle = self.handles.get(job_id)
        if handle is not None:
            handle.stop.set()
        return self.get(job_id)

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """The job now, and after every change until it has ended."""
        queue: asyncio.Queue[Job] = asyncio.Queue()
        listener = (asyncio.get_running_loop(), queue)
        self.listeners.setdefault(job_id, []).append(listener)
        try:
            job = self.get(job_id)
            yield job
            while job.state not in ENDED:
                job = await queue.get()
                yield job
        finally:
            self.listeners[job_id].remove(listener)
            if not self.listeners[job_id]:
                del self.listeners[job_id]

    def publish(self, job: Job) -> None:
        """Tells the listeners."""
        for loop, queue in list(self.listeners.get(job.id, [])):
            loop.call_soon_threadsafe(queue.put_nowait, job.snapshot())

    def stop_all(self) -> None:
        """Asks running jobs to end, so that those who watch them are let go."""
        for handle in list(self.handles.values()):
            handle.stop.set()

    def close(self) -> None:
        """Cancels what runs and waits for it."""
        self.stop_all()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, handle: Handle, work: Callable[[Handle], None]) -> None:
        job = handle.job
        try:
            job.state = "running"
            self.store.jobs.save(job.row())
            handle.step(0.0, "starting")
            work(handle)
            job.state, job.progress, job.stage = "succeeded", 1.0, "done"
        except Cancelled:
            job.state, job.stage = "cancelled", "cancelled"
        except Declined as why:
            job.state, job.stage = "declined", "declined"
            job.report.reason = str(why)
        except Exception as error:  # a job must end in a state, whatever happened
            job.state, job.stage = "failed", "failed"
            job.report.error = (
                error.detail if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
            )
            log.exception("job %s failed", job.id)
        finally:
            self._end(job)

    def _end(self, job: Job) -> None:
        """Keeps how a job ended. Where the store fails, this process goes on answering for the job; the next
        start marks it as interrupted."""
        try:
            self.store.jobs.save(job.row())
        except Problem as error:
            log.error("how job %s ended could not be stored: %s", job.id, error.detail)
            self.publish(job)
            return
        self.publish(job)
        with self.lock:
            del self.handles[job.id]  # the store answers for it from now on
