"""The space in which a version's embeddings are stored, beside the one in which they are compared. They were
the same before profiles had centres."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_versions = sa.table("versions", sa.column("space_id", sa.String), sa.column("raw_space_id", sa.String))


def upgrade() -> None:
    """Adds the column and fills it in."""
    op.add_column("versions", sa.Column("raw_space_id", sa.String, nullable=False, server_default=""))
    op.get_bind().execute(_versions.update().values(raw_space_id=_versions.c.space_id))
