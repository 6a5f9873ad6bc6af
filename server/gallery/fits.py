"""Which items each profile was fitted to: those that are left of them, and how many there were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.database import Database
from server.gallery.records import Fit

_CHUNK = 500  # values in one IN list


class FitRows:
    """An erased item leaves these rows like all others; only the count remembers it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def save(
        self, profile_id: str, site: str, count: int, sampled: Sequence[int], through: int | None = None
    ) -> None:
        """Keeps what a kept profile was fitted to, instead of what was said of it before.

        Args:
            count: of all items that took part. sampled: seqs of those that its tables were fitted to; those
                erased meanwhile are left out.
            through: its centres were fitted to every item of the site up to this seq.
        """
        with self.database.write() as db:
            db.execute(t.fitted_items.delete().where(t.fitted_items.c.profile_id == profile_id))
            db.execute(t.fits.delete().where(t.fits.c.profile_id == profile_id))
            db.execute(t.fits.insert().values(profile_id=profile_id, site=site, count=count, through=through))
            for start in range(0, len(sampled), _CHUNK):
                chunk = [int(seq) for seq in sampled[start : start + _CHUNK]]
                present = db.execute(sa.select(t.items.c.seq).where(t.items.c.seq.in_(chunk))).scalars().all()
                if present:
                    rows = [{"profile_id": profile_id, "seq": seq} for seq in present]
                    db.execute(t.fitted_items.insert(), rows)

    def get(self, profile_id: str) -> Fit | None:
        """What a profile was fitted to; None where nothing says so."""
        seqs = sa.select(t.fitted_items.c.seq).where(t.fitted_items.c.profile_id == profile_id)
        with self.database.read() as db:
            row = db.execute(sa.select(t.fits).where(t.fits.c.profile_id == profile_id)).first()
            sampled = np.fromiter(db.execute(seqs.order_by(t.fitted_items.c.seq)).scalars(), np.int64)
        return Fit(row._mapping["count"], sampled, row.through) if row is not None else None
