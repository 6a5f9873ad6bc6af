"""The token of the gallery's owner; nothing names an item that was erased.

Requests name their items by rows that go with the items, and keep a digest instead of their Idempotency-Key.
Lines of the audit log have the item in a column of its own.
"""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_items = sa.table("items", sa.column("seq", _SEQ), sa.column("id", sa.String))
_requests = sa.table(
    "requests",
    sa.column("key", sa.String),
    sa.column("fingerprint", sa.String),
    sa.column("answer", sa.JSON),
)
_audit = sa.table("audit", sa.column("seq", _SEQ), sa.column("detail", sa.JSON), sa.column("item", sa.String))


def upgrade() -> None:
    """Creates the tables and moves what the old rows say."""
    op.create_table(
        "owner",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("token", sa.String, nullable=False),
    )
    request_items = op.create_table(
        "request_items",
        sa.Column("key", sa.String, sa.ForeignKey("requests.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", _SEQ, sa.ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True, index=True),
    )
    op.add_column("audit", sa.Column("item", sa.String))
    op.create_index("ix_audit_item", "audit", ["item"])
    db = op.get_bind()
    for row in db.execute(sa.select(_requests)).all():
        _move_request(db, request_items, row)
    for row in db.execute(sa.select(_audit)).all():
        _move_line(db, row)


def _move_request(db: sa.Connection, request_items: sa.Table, row: sa.Row[Any]) -> None:
    answer = {name: value for name, value in row.answer.items() if name != "ids"}
    seqs = _seqs(db, row.answer["ids"])
    key = hashlib.sha256(row.key.encode()).hexdigest()
    spent = {} if seqs else {"fingerprint": "", "answer": {}}  # every item of it was erased
    db.execute(
        _requests.update().where(_requests.c.key == row.key).values({"key": key, "answer": answer} | spent)
    )
    if seqs:
        db.execute(request_items.insert(), [{"key": key, "seq": seq} for seq in seqs])


def _move_line(db: sa.Connection, row: sa.Row[Any]) -> None:
    item = row.detail.get("item")
    if item is None:
        return
    detail = {name: value for name, value in row.detail.items() if name != "item"}
    if "items" in detail:  # it notes an erasure
        detail["by"] = "item"
    present = item if _seqs(db, [item]) else None
    db.execute(_audit.update().where(_audit.c.seq == row.seq).values(detail=detail, item=present))


def _seqs(db: sa.Connection, ids: list[str]) -> list[int]:
    """The seqs of those items that exist."""
    seqs: list[int] = []
    for start in range(0, len(ids), 500):
        seqs += db.execute(sa.select(_items.c.seq).where(_items.c.id.in_(ids[start : start + 500]))).scalars()
    return seqs
