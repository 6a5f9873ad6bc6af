"""A name of the gallery, by which an index outside of it tells whose rows it has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Adds the column; the next owner fills it."""
    op.add_column("owner", sa.Column("gallery", sa.String))
