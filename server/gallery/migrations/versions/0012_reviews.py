"""Answers of the review queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "reviews",
        sa.Column("first", _SEQ, _item(), primary_key=True),
        sa.Column("second", _SEQ, _item(), primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), nullable=False),
        sa.Column("answer", sa.String, nullable=False),
        sa.Column("entry", _SEQ),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    for column in ("second", "site"):
        op.create_index(f"ix_reviews_{column}", "reviews", [column])


def _item() -> sa.ForeignKey:
    return sa.ForeignKey("items.seq", ondelete="CASCADE")
