"""Rows of adaptation and rollback jobs, which outlive the process that ran them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database

_INTERRUPTED = {
    "error": "the server stopped while this job ran; the site kept its version; start the job again"
}


_ITEM_ID = re.compile(r"\b[0-9a-f]{32}\b")


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


def forget(db: sa.Connection, site: str, ids: Sequence[str]) -> None:
    """Takes the ids of erased items out of the sentences that jobs of the site failed with."""
    erased = set(ids)
    failed = sa.select(t.jobs.c.id, t.jobs.c.report).where(t.jobs.c.site == site, t.jobs.c.state == "failed")
    for job in db.execute(failed).all():
        sentence = str(job.report.get("error", ""))
        if erased & set(_ITEM_ID.findall(sentence)):
            kept = _ITEM_ID.sub(lambda match: "(erased)" if match[0] in erased else match[0], sentence)
            report = job.report | {"error": kept}
            db.execute(t.jobs.update().where(t.jobs.c.id == job.id).values(report=report))
