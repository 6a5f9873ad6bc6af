"""With which cosine an answer of the review queue was asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Adds the columns; of answers before nobody knows it."""
    op.add_column("reviews", sa.Column("score", sa.Float))
    op.add_column("reviews", sa.Column("space_id", sa.String))
