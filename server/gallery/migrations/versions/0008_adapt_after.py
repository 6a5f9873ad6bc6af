"""After how many new crops or hours a site is adapted again by itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Adds the table; no site has a schedule until somebody gives it one."""
    op.create_table(
        "schedules",
        sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("items", sa.Integer),
        sa.Column("hours", sa.Float),
    )
