"""Rows of adaptation and rollback jobs, which outlive the process that ran them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database

_INTERRUPTED = {
    "error": "the server stopped while this job ran; the site kept its version; start the job again"
}


class JobRows:
    """What a job was asked for, how far it came and how it ended."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def save(self, values: dict[str, Any]) -> None:
        """Inserts a job or updates it by id."""
        with self.database.write() as db:
            if not db.execute(t.jobs.update().where(t.jobs.c.id == values["id"]).values(**values)).rowcount:
                db.execute(t.jobs.insert().values(**values))

    def get(self, job_id: str) -> dict[str, Any] | None:
        """A job's row."""
        with self.database.read() as db:
            row = db.execute(sa.select(t.jobs).where(t.jobs.c.id == job_id)).first()
        return dict(row._mapping) if row is not None else None

    def fail_interrupted(self) -> int:
        """Marks jobs that a crash cut off as failed; called at start, when none can be running."""
        interrupted = t.jobs.c.state.in_(["queued", "running"])
        end = {"state": "failed", "stage": "interrupted", "report": _INTERRUPTED}
        with self.database.write() as db:
            return db.execute(t.jobs.update().where(interrupted).values(**end)).rowcount
