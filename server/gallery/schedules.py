"""When each site is adapted again by itself."""

from __future__ import annotations

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database
from server.gallery.records import AdaptAfter


class ScheduleRows:
    """The schedules of sites that have one, and what says whether they are due."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def all(self) -> dict[str, AdaptAfter]:
        """By site."""
        with self.database.read() as db:
            rows = db.execute(sa.select(t.schedules)).all()
        return {row.site: AdaptAfter(row.items, row.hours) for row in rows}

    def set(self, site: str, after: AdaptAfter | None) -> None:
        """Gives a site a schedule, or takes it away."""
        with self.database.write() as db:
            db.execute(t.schedules.delete().where(t.schedules.c.site == site))
            if after is not None:
                db.execute(t.schedules.insert().values(site=site, items=after.items, hours=after.hours))

    def last_adapted(self, site: str) -> float:
        """When the last adaptation of a site was asked for, in seconds since 1970, however it ended; when the
        site began, where there was none."""
        adapted = sa.select(sa.func.max(t.jobs.c.created_at))
        began = sa.select(t.sites.c.created_at).where(t.sites.c.name == site)
        with self.database.read() as db:
            asked = db.scalar(adapted.where(t.jobs.c.site == site, t.jobs.c.kind == "adapt"))
            return max(asked or 0.0, db.scalar(began) or 0.0)

    def has_enrolled(self, site: str, count: int, since: float) -> bool:
        """Whether a site holds this many items that were enrolled after a time (seconds since 1970)."""
        nth = sa.select(t.items.c.enrolled_at).where(t.items.c.site == site)
        with self.database.read() as db:
            at = db.scalar(nth.order_by(t.items.c.seq.desc()).limit(1).offset(count - 1))
        return at is not None and at > since
