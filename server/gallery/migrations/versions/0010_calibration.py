"""What scores mean in the space of a version. Nothing says so of the versions that there are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Adds the column."""
    op.add_column("versions", sa.Column("calibration", sa.JSON(none_as_null=True)))
