"""The schema before Alembic: what galleries of earlier versions hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Creates every table."""
    op.create_table(
        "meta",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )
    op.create_table(
        "sites",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "versions",
        sa.Column("site", sa.String, sa.ForeignKey("sites.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("profile_id", sa.String, nullable=False),
        sa.Column("space_id", sa.String, nullable=False),
        sa.Column("dim", sa.Integer, nullable=False),
        sa.Column("parent", sa.Integer),
        sa.Column("cause", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "profiles",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "items",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("site", sa.String, sa.ForeignKey("sites.name"), nullable=False),
        sa.Column("camera", sa.String),
        sa.Column("identity", sa.String),
        sa.Column("captured_at", sa.Float),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("enrolled_at", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("items_site_seq", "items", ["site", "seq"])
    op.create_index("items_site_identity", "items", ["site", "identity"])
    op.create_table(
        "images",
        sa.Column(
            "seq", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True, autoincrement=False
        ),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "embeddings",
        sa.Column("space_id", sa.String, primary_key=True),
        sa.Column("seq", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True, index=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "requests",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("answer", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("site", sa.String, nullable=False, index=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("digest", sa.String, nullable=False, unique=True),
        sa.Column("scopes", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("site", sa.String),
        sa.Column("detail", sa.JSON, nullable=False),
    )
