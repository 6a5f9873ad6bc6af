"""Rows of the items table -> items. What cannot be read, because an older version accepted it, costs its own
value and nothing else."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import sqlalchemy as sa

from server.gallery import tables as t
from server.gallery.records import Item

log = logging.getLogger("resight")
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0  # what a calendar can show: the years 1 to 9999
METADATA = sa.cast(t.items.c.metadata, sa.Text)  # as it is stored: a row is parsed apart from the others
COLUMNS = [column for column in t.items.c if column.name != "metadata"] + [METADATA.label("metadata")]
_WARNINGS = 10_000  # items that the log names at most
_warned: set[str] = set()


def read_item(row: sa.Row[Any]) -> Item:
    """An item out of `COLUMNS`. A time that no calendar has is None, metadata that is no JSON is empty, and a
    value in it that JSON cannot write is None; the log names such an item once."""
    values = dict(row._mapping)
    values["metadata"], unreadable = read_metadata(values["metadata"])
    for name in ("camera", "identity"):
        if not isinstance(values[name], str | None):
            unreadable.append(f"{name} is no text")
            values[name] = None
    for name in ("captured_at", "enrolled_at"):
        if not _has_date(values[name]):
            unreadable.append(f"{name} is {values[name]!r}")
            values[name] = None
    if unreadable and len(_warned) < _WARNINGS and values["id"] not in _warned:
        _warned.add(values["id"])
        log.warning("item %s cannot be read whole: %s", values["id"], "; ".join(unreadable))
    return Item(**values)


def read_metadata(text: str | bytes) -> tuple[dict[str, Any], list[str]]:
    """The values of a stored JSON object, and what of it could not be read. SQLite holds bytes in a column of
    text when another program put them there."""
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return {}, ["its metadata is no JSON object"]
    unreadable: list[str] = []
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            values[key] = None
            unreadable.append(f"metadata.{key} is {value}")
    if "\\u" in text and not _encodes(values):
        return {}, ["its metadata holds half of a surrogate pair"]
    return values, unreadable


def _has_date(seconds: Any) -> bool:
    return seconds is None or (isinstance(seconds, (int, float)) and EARLIEST <= seconds <= LATEST)


def _encodes(values: dict[str, Any]) -> bool:
    try:
        json.dumps(values, ensure_ascii=False).encode()
        return True
    except UnicodeEncodeError:
        return False
