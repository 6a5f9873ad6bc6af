"""Which tiers of adaptation made a version, and how many cameras have tables of their own in its profile.

Nothing says which tiers made the versions that there are, so theirs stay unknown.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the columns."""
    op.add_column("versions", sa.Column("tiers", sa.String))
    op.add_column("versions", sa.Column("camera_tables", sa.Integer, nullable=False, server_default="0"))
