"""An item filter as conditions of SQL."""

from __future__ import annotations

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.records import ItemFilter


def conditions(site: str, where: ItemFilter) -> list[sa.ColumnElement[bool]]:
    """Conditions that an item of the site meets when the filter lets it through; all of them must hold."""
    columns = t.items.c
    result: list[sa.ColumnElement[bool]] = [columns.site == site]
    if where.camera is not None:
        result.append(columns.camera == where.camera)
    if where.identity is not None:
        result.append(columns.identity == where.identity)
    if where.captured_after is not None:
        result.append(columns.captured_at >= where.captured_after)
    if where.captured_before is not None:
        result.append(columns.captured_at < where.captured_before)
    for key, value in where.metadata.items():
        element = columns.metadata[key]
        if isinstance(value, bool):
            result.append(element.as_boolean() == value)
        elif isinstance(value, (int, float)):
            result.append(element.as_float() == value)
        else:
            result.append(element.as_string() == str(value))
    return result
