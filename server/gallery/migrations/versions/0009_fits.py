"""Which items a profile was fitted to. Nothing says so of the profiles that there are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds the tables."""
    seq = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    profile = sa.ForeignKey("profiles.id", ondelete="CASCADE")
    op.create_table(
        "fits",
        sa.Column("profile_id", sa.String, profile, primary_key=True),
        sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("through", seq),
    )
    fit = sa.ForeignKey("fits.profile_id", ondelete="CASCADE")
    item = sa.ForeignKey("items.seq", ondelete="CASCADE")
    op.create_table(
        "fitted_items",
        sa.Column("profile_id", sa.String, fit, primary_key=True),
        sa.Column("seq", seq, item, primary_key=True),
    )
    op.create_index("ix_fitted_items_seq", "fitted_items", ["seq"])
