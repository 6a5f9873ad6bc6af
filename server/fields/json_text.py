"""JSON as requests send it, read so that nothing is lost or changed: a key that stands twice, a number that
becomes infinite and text that no database keeps are errors."""

from __future__ import annotations

import json
import math
from typing import Any

from server.errors import BadRequest

_SHOWN = 80  # characters of a refused value in an error
_DEPTH = 16  # levels of arrays and objects
_DIGITS = 256  # of an integer; a label of this length may be sent as one


def json_of(text: str, field: str) -> Any:
    """The value of a JSON text. Raises BadRequest naming the field."""
    try:
        value = json.loads(
            text,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_unique,
        )
    except ValueError as error:
        raise BadRequest(f"{field} is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest(f"{field} is nested more than {_DEPTH} levels deep") from None
    _check(value, field, field)
    return value


def object_of(value: Any, field: str) -> dict[str, Any]:
    """The value, when it is a JSON object."""
    if not isinstance(value, dict):
        raise BadRequest(f"{field} must be a JSON object, not {kind_of(value)}")
    return value


def only_keys(values: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raises BadRequest for a key that is not known."""
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise BadRequest(f"{where} has the unknown key {shown(unknown[0])}; known: {', '.join(known)}")


def storable_text(value: str, field: str) -> str:
    """The text, when every database can keep it: no NUL and no half of a surrogate pair."""
    if "\0" in value:
        raise BadRequest(f"{field} is {shown(value)}: a NUL character cannot be stored; leave it out")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(
            f"{field} is {shown(value)}: half of a surrogate pair is no character; send it as UTF-8"
        ) from None
    return value


def kind_of(value: Any) -> str:
    """JSON's name for the kind of a value."""
    names = {
        dict: "an object",
        list: "an array",
        str: "text",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def shown(value: Any) -> str:
    """A value as an error shows it: quoted, and cut where it is long."""
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN + 2 else f"{text[:_SHOWN]}..."


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:_SHOWN]} is larger than any that can be stored")
    return value


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"an integer of {len(text)} digits cannot be stored")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {shown(key)} stands twice in one object")
        values[key] = value
    return values


def _check(value: Any, field: str, whole: str, depth: int = 0) -> None:
    """Raises BadRequest for text that cannot be stored, and for more levels than anything here needs.

    Args:
        whole: the field in which this one stands.
    """
    if depth > _DEPTH:
        raise BadRequest(f"{whole} is nested more than {_DEPTH} levels deep")
    if isinstance(value, str):
        storable_text(value, field)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check(inner, f"{field}[{index}]", whole, depth + 1)
    elif isinstance(value, dict):
        for key, inner in value.items():
            storable_text(key, f"a key of {field}")
            _check(inner, f"{field}.{key}", whole, depth + 1)
