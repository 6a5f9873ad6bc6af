"""Corrections: an item's revision, what is known of people beside their items, and the journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Adds a column and the tables."""
    op.add_column("items", sa.Column("revision", sa.Integer, nullable=False, server_default="1"))
    op.create_table(
        "people",
        sa.Column("site", sa.String, _site(), primary_key=True),
        sa.Column("identity", sa.String, primary_key=True),
        sa.Column("hidden", sa.Boolean, nullable=False),
        sa.Column("feature", _SEQ),
    )
    op.create_table(
        "denials",
        sa.Column("seq", _SEQ, _item(), primary_key=True),
        sa.Column("identity", sa.String, primary_key=True),
    )
    op.create_table(
        "differences",
        sa.Column("site", sa.String, _site(), primary_key=True),
        sa.Column("identity", sa.String, primary_key=True),
        sa.Column("other", sa.String, primary_key=True),
    )
    _create_journal()


def _create_journal() -> None:
    op.create_table(
        "journal",
        sa.Column("entry", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("site", sa.String, _site(), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("items", sa.Integer, nullable=False),
        sa.Column("undoes", _SEQ),
        sa.Column("undone_by", _SEQ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_journal_site", "journal", ["site"])
    op.create_table(
        "journal_changes",
        sa.Column("number", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("entry", _SEQ, sa.ForeignKey("journal.entry", ondelete="CASCADE"), nullable=False),
        sa.Column("seq", _SEQ, _item()),
        sa.Column("field", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("other", sa.String, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
    )
    for column in ("entry", "seq", "name"):
        op.create_index(f"ix_journal_changes_{column}", "journal_changes", [column])


def _site() -> sa.ForeignKey:
    return sa.ForeignKey("sites.name", ondelete="CASCADE")


def _item() -> sa.ForeignKey:
    return sa.ForeignKey("items.seq", ondelete="CASCADE")
