"""An item filter as conditions of SQL.

Cameras, identities and times are compared by the database, exactly. Metadata is compared in Python, by the
rules of `filters.py` and alike on every database: SQL's JSON functions cast, round and stumble over odd keys.
What stands here for metadata only thins out the rows beforehand.
"""

from __future__ import annotations

import json
import operator
from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.filters import AllOf, Bound, Column, Condition, ItemFilter, Lacks, Not, Plain
from server.gallery.rows import EARLIEST, LATEST, METADATA

_FRAGMENT = 200  # characters that are searched for at most; SQLite limits the length of a pattern
_PATTERNS = 20  # fragments that are searched for at once at most
_WRITTEN_OUT = 10**15  # JSON writes whole numbers below this digit by digit, also where they are floats
_OPERATORS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def conditions(site: str, where: ItemFilter, collation: str) -> list[sa.ColumnElement[bool]]:
    """Conditions that every item of the site meets which the filter lets through. They are exact unless the
    filter looks at metadata; then `where.metadata_matches` decides about the rows that are left.

    Args:
        collation: the database's name for the order of code points.
    """
    result: list[sa.ColumnElement[bool]] = [t.items.c.site == site]
    result += [_exact(_readable(column), condition, collation) for column, condition in where.columns]
    for key, condition in where.metadata:
        fragments = _fragments(key, condition)
        if fragments:
            result.append(sa.or_(*(METADATA.contains(text, autoescape=True) for text in fragments)))
    return result


def _readable(column: Column) -> sa.ColumnElement[Any]:
    """The column as answers show it: a time that no calendar has is none."""
    element: sa.ColumnElement[Any] = t.items.c[column]
    if column in ("camera", "identity"):
        return element
    return sa.case((element.between(EARLIEST, LATEST), element))


def _exact(element: sa.ColumnElement[Any], condition: Condition, collation: str) -> sa.ColumnElement[bool]:
    if isinstance(condition, AllOf):
        return sa.and_(*(_exact(element, part, collation) for part in condition.conditions))
    if isinstance(condition, Not):  # an item without a value does not meet a bound, so it meets its `not`
        return sa.not_(sa.func.coalesce(_exact(element, condition.condition, collation), sa.false()))
    if isinstance(condition, Bound):
        ordered = sa.collate(element, collation) if isinstance(condition.limit, str) else element
        return _OPERATORS[condition.operator](ordered, condition.limit)
    values = [value for value in condition.values if value is not None]
    if len(values) == len(condition.values):
        return element.in_(values)
    return sa.or_(element.in_(values), element.is_(None)) if values else element.is_(None)


def _fragments(key: str, condition: Condition | Lacks) -> list[str]:
    """Texts of which the stored JSON of a matching item holds at least one; none where nothing is known."""
    member = f"{_written(key)}: " if key.isascii() and key.isprintable() else ""
    if not member or isinstance(condition, (Not, Lacks)):
        return []
    if isinstance(condition, AllOf):
        known = (_fragments(key, part) for part in condition.conditions)
        return next((fragments for fragments in known if fragments), [])
    if isinstance(condition, Bound):
        return [member[:_FRAGMENT]]
    if None in condition.values:
        return []
    if len(condition.values) > _PATTERNS:
        return [member[:_FRAGMENT]]
    return [(member + _value_fragment(value))[:_FRAGMENT] for value in condition.values]


def _value_fragment(value: Plain) -> str:
    """How every stored value that equals this one begins; empty where they begin differently."""
    if isinstance(value, str):
        return _written(value) if value.isascii() and value.isprintable() else ""
    if isinstance(value, bool) or value is None:
        return _written(value)
    if value == int(value):  # 12 equals 12.0; 0 equals -0.0; 1e16 equals its seventeen digits
        return str(int(value)) if 0 < abs(value) < _WRITTEN_OUT else ""
    return _written(value)


def _written(value: Plain) -> str:
    return json.dumps(value)
