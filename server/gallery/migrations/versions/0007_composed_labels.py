"""Cameras and identities in one composition of letters (NFC), as labels are compared from now on: a filter or
an erasure by a name must find what was enrolled under it before."""

from __future__ import annotations

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_items = sa.table("items", sa.column("camera", sa.String), sa.column("identity", sa.String))


def upgrade() -> None:
    """Rewrites the labels that are composed otherwise."""
    db = op.get_bind()
    for column in (_items.c.camera, _items.c.identity):
        labels = db.execute(sa.select(column).where(column.is_not(None)).distinct()).scalars().all()
        for label in labels:
            composed = unicodedata.normalize("NFC", label)
            if composed != label:
                db.execute(_items.update().where(column == label).values({column: composed}))
