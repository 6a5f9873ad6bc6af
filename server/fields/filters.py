"""The JSON object `filter` and the single fields that stand for parts of it: docs/filters.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from server.errors import BadRequest
from server.fields.json_text import json_of, kind_of, object_of, only_keys, shown
from server.fields.labels import label_of
from server.fields.records import plain_value
from server.fields.times import time_of
from server.gallery.filters import (
    COLUMNS,
    AllOf,
    AnyOf,
    Bound,
    Column,
    Condition,
    ItemFilter,
    Lacks,
    Not,
    Operator,
    Plain,
    contradict,
)

MAX_FILTER = 65_536  # characters of a filter
MAX_VALUES = 1_000  # of one list in it
MAX_KEYS = 100  # of metadata in it, and in lacks_metadata
_OPERATORS: dict[str, Operator] = {"gt": "gt", "gte": "gte", "lt": "lt", "lte": "lte"}
_WINDOW: dict[str, Operator] = {"captured_after": "gte", "captured_before": "lt"}
_KNOWN = (*COLUMNS, "metadata", "lacks_metadata", *_WINDOW)
Read = Callable[[Any, str], Plain]  # a value in a filter and where it stands -> the value to compare with


def filter_of(
    text: str | None,
    name: str = "filter",
    *,
    camera: Any = None,
    identity: Any = None,
    captured_after: Any = None,
    captured_before: Any = None,
) -> ItemFilter:
    """The JSON object `filter`, joined with single fields: an item has to meet both.

    Args:
        name: what errors call the object.

    Raises BadRequest naming what cannot be read, stored or compared, and what can never be met.
    """
    conditions: dict[Column, dict[str, Condition]] = {name: {} for name in COLUMNS}  # by what asked for them
    metadata: dict[str, Condition] = {}
    lacking: list[str] = []
    if text is not None:
        values = _object(text, name)
        for column in COLUMNS:
            if column in values:
                read = _label if column in ("camera", "identity") else _time
                conditions[column][f"{name}.{column}"] = _condition(values[column], f"{name}.{column}", read)
        for limit, operator in _WINDOW.items():
            if limit in values:
                where = f"{name}.{limit}"
                conditions["captured_at"][where] = _limit(operator, values[limit], where)
        metadata = _metadata(values.get("metadata", {}), name)
        if "lacks_metadata" in values:
            lacking = _lacking(values["lacks_metadata"], metadata, name)
    single: dict[Column, Any] = {"camera": camera, "identity": identity}
    for column, value in single.items():
        if value is not None:
            conditions[column][column] = AnyOf((_label(value, column),))
    for limit, value in (("captured_after", captured_after), ("captured_before", captured_before)):
        if value is not None:
            conditions["captured_at"][limit] = _limit(_WINDOW[limit], value, limit)
    for sources in conditions.values():
        _refuse_contradiction(sources)
    columns = tuple((column, part) for column in COLUMNS for part in conditions[column].values())
    return ItemFilter(columns, (*metadata.items(), *((key, Lacks()) for key in lacking)))


def _object(text: str, name: str) -> dict[str, Any]:
    if len(text) > MAX_FILTER:
        raise BadRequest(f"{name} has {len(text)} characters; at most {MAX_FILTER} are accepted")
    values = object_of(json_of(text, name), name)
    only_keys(values, _KNOWN, name)
    return values


def _metadata(values: Any, name: str) -> dict[str, Condition]:
    conditions: dict[str, Condition] = {}
    if len(object_of(values, f"{name}.metadata")) > MAX_KEYS:
        raise BadRequest(f"{name}.metadata has {len(values)} keys; at most {MAX_KEYS} are accepted")
    for key, value in values.items():
        where = f"{name}.metadata.{key}"
        conditions[key] = _condition(value, where, plain_value)
        _refuse_contradiction({where: conditions[key]})
    return conditions


def _lacking(values: Any, metadata: dict[str, Condition], name: str) -> list[str]:
    """The keys of `lacks_metadata`. Raises BadRequest for anything but a list of keys, and for a key that
    `metadata` asks for."""
    where = f"{name}.lacks_metadata"
    if not isinstance(values, list):
        raise BadRequest(f"{where} must be an array of keys, not {kind_of(values)}")
    if not 1 <= len(values) <= MAX_KEYS:
        raise BadRequest(f"{where} is a list of {len(values)} keys; send 1 to {MAX_KEYS}")
    for index, key in enumerate(values):
        if not isinstance(key, str):
            raise BadRequest(f"{where}[{index}] must be text, the name of a key, not {kind_of(key)}")
        if key in metadata and not metadata[key].matches(None):
            raise _contradiction(where, f"{name}.metadata.{key}")
    return values


def _condition(value: Any, where: str, read: Read) -> Condition:
    """A value, a list of values, or an object of bounds and `not`."""
    if isinstance(value, list):
        if not 1 <= len(value) <= MAX_VALUES:
            raise BadRequest(f"{where} is a list of {len(value)} values; send 1 to {MAX_VALUES}")
        return AnyOf(tuple(read(one, f"{where}[{index}]") for index, one in enumerate(value)))
    if not isinstance(value, dict):
        return AnyOf((read(value, where),))
    only_keys(value, (*_OPERATORS, "not"), where)
    parts = [_part(name, inner, f"{where}.{name}", read) for name, inner in value.items()]
    if not parts:
        raise BadRequest(
            f"{where} is an empty object; send a value, a list, bounds (gt, gte, lt, lte) or not"
        )
    for one, other in (("gt", "gte"), ("lt", "lte")):
        if one in value and other in value:
            raise BadRequest(f"{where} has both {one} and {other}; send one of them")
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _part(name: str, value: Any, where: str, read: Read) -> Condition:
    if name == "not":
        if isinstance(value, dict) and "not" in value:
            raise BadRequest(f"{where} holds another not; leave out both")
        return Not(_condition(value, where, read))
    limit = read(value, where)
    if limit is None or isinstance(limit, bool):
        raise BadRequest(f"{where} is {shown(value)}, which has no order; bounds are text, numbers or times")
    return Bound(_OPERATORS[name], limit)


def _limit(operator: Operator, value: Any, where: str) -> Condition:
    return Bound(operator, time_of(value, where))


def _label(value: Any, where: str) -> str | None:
    """A camera or identity; None finds items without one."""
    if value == "":
        raise BadRequest(f"{where} is empty; name one, or leave it out. null in a filter finds items without")
    return label_of(value, where)


def _time(value: Any, where: str) -> float | None:
    """A time; None finds items without one."""
    return None if value is None else time_of(value, where)


def _refuse_contradiction(sources: dict[str, Condition]) -> None:
    if contradict(list(sources.values())):
        raise _contradiction(*sources)


def _contradiction(*names: str) -> BadRequest:
    return BadRequest(f"{' and '.join(names)} can be met by no item: what is asked for contradicts itself")
