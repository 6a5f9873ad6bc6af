"""How often a job was begun: one that ends the server must not be started again for ever."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the column."""
    op.add_column("jobs", sa.Column("attempts", sa.Integer, nullable=False, server_default="0"))
