"""When the last item of a request was erased. Requests spent before this step say only when they were made,
so their keys are kept as if they had been spent now."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_requests = sa.table("requests", sa.column("fingerprint", sa.String), sa.column("spent_at", sa.Float))


def upgrade() -> None:
    """Adds the column and fills it in."""
    op.add_column("requests", sa.Column("spent_at", sa.Float))
    spent = _requests.update().where(_requests.c.fingerprint == "")
    op.get_bind().execute(spent.values(spent_at=time.time()))
