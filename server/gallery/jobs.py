"""Rows of adaptation and rollback jobs, which outlive the process that ran them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database

_OPEN = ("queued", "running", "interrupted")  # what the next start takes up again
_ITEM_ID = re.compile(r"\b[0-9a-f]{32}\b")


class JobRows:
    """What a job was asked for, how far it came and how it ended."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def save(self, values: dict[str, Any]) -> None:
        """Inserts a job or updates it by id. Its report says nothing of items that were erased meanwhile."""
        with self.database.write() as db:
            values = _without_erased(db, values)
            if not db.execute(t.jobs.update().where(t.jobs.c.id == values["id"]).values(**values)).rowcount:
                db.execute(t.jobs.insert().values(**values))

    def begin(self, job_id: str) -> bool:
        """Marks a queued job as running and counts the attempt; False where it was cancelled meanwhile."""
        queued = t.jobs.update().where(t.jobs.c.id == job_id, t.jobs.c.state == "queued")
        with self.database.write() as db:
            begun = db.execute(queued.values(state="running", attempts=t.jobs.c.attempts + 1))
            return begun.rowcount > 0

    def cancel(self, job_id: str) -> None:
        """Marks a job as cancelled, so that no start takes it up again; one that has ended stays as it is."""
        unfinished = t.jobs.update().where(t.jobs.c.id == job_id, t.jobs.c.state.in_(_OPEN))
        with self.database.write() as db:
            db.execute(unfinished.values(state="cancelled", stage="cancelled"))

    def interrupt(self, values: dict[str, Any]) -> None:
        """Updates a job that the next start takes up again, unless a client has cancelled it meanwhile."""
        unfinished = t.jobs.update().where(t.jobs.c.id == values["id"], t.jobs.c.state.in_(_OPEN))
        with self.database.write() as db:
            db.execute(unfinished.values(**_without_erased(db, values)))

    def get(self, job_id: str) -> dict[str, Any] | None:
        """A job's row."""
        with self.database.read() as db:
            row = db.execute(sa.select(t.jobs).where(t.jobs.c.id == job_id)).first()
        return dict(row._mapping) if row is not None else None

    def unfinished(self) -> list[dict[str, Any]]:
        """Rows of jobs that are queued, running or interrupted, oldest first."""
        query = sa.select(t.jobs).where(t.jobs.c.state.in_(_OPEN)).order_by(t.jobs.c.created_at)
        with self.database.read() as db:
            return [dict(row._mapping) for row in db.execute(query)]

    def latest(self, site: str | None, limit: int) -> list[dict[str, Any]]:
        """Rows of the newest jobs, of one site or of all, newest first."""
        query = sa.select(t.jobs).order_by(t.jobs.c.created_at.desc()).limit(limit)
        if site is not None:
            query = query.where(t.jobs.c.site == site)
        with self.database.read() as db:
            return [dict(row._mapping) for row in db.execute(query)]

    def profiles_of_unfinished(self) -> set[str]:
        """Profiles that unfinished jobs have computed and go on with."""
        return {row["report"]["profile"] for row in self.unfinished() if row["report"].get("profile")}


def forget(db: sa.Connection, site: str, ids: Sequence[str]) -> None:
    """Takes erased items out of the reports of the site's jobs: out of the places that were kept of them, and
    out of the sentences that jobs failed with."""
    erased = set(ids)
    has_places = sa.cast(t.jobs.c.report, sa.Text).contains('"ranks"')
    names_items = sa.and_(t.jobs.c.site == site, sa.or_(t.jobs.c.state == "failed", has_places))
    for job in db.execute(sa.select(t.jobs.c.id, t.jobs.c.report).where(names_items)).all():
        sentence = str(job.report.get("error", ""))
        report = _without_queries(job.report, erased)
        if erased & set(_ITEM_ID.findall(sentence)):
            kept = _ITEM_ID.sub(lambda match: "(erased)" if match[0] in erased else match[0], sentence)
            report = report | {"error": kept}
        if report != job.report:
            db.execute(t.jobs.update().where(t.jobs.c.id == job.id).values(report=report))


def _without_erased(db: sa.Connection, values: dict[str, Any]) -> dict[str, Any]:
    """A job's values without places of items that are not there any more."""
    ranks = values.get("report", {}).get("ranks")
    if not ranks:
        return values
    ids = {query["item"] for query in ranks["queries"]}
    present = db.execute(sa.select(t.items.c.id).where(t.items.c.id.in_(ids))).scalars()
    return values | {"report": _without_queries(values["report"], ids - set(present))}


def _without_queries(report: dict[str, Any], erased: set[str]) -> dict[str, Any]:
    ranks = report.get("ranks")
    if not ranks:
        return report
    queries = [query for query in ranks["queries"] if query["item"] not in erased]
    return report | {"ranks": ranks | {"queries": queries}}
