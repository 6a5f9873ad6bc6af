"""Reading the words of both protocols into values, with errors that name the field."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

from server.errors import BadRequest
from server.gallery.records import ItemFilter, NewItem

MAX_LABEL = 256  # characters of a camera or an identity
MAX_METADATA = 16_384  # bytes of an item's metadata as JSON
_RECORD = ("camera", "identity", "captured_at", "metadata")
_FILTER = ("camera", "identity", "captured_after", "captured_before", "metadata")


def time_of(value: Any, field: str = "captured_at") -> float | None:
    """ISO 8601 text (UTC where it has no offset) or seconds since 1970 -> seconds since 1970."""
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        try:
            moment = datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        except ValueError:
            raise BadRequest(
                f"{field} {value!r} is no time; send ISO 8601, like 2026-05-04T09:30:00Z, or seconds since "
                f"1970"
            ) from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)).timestamp()
    if not math.isfinite(seconds) or isinstance(value, bool) or not 0 <= seconds < 253_402_300_800:
        raise BadRequest(f"{field} {value!r} is no time between 1970 and 9999")
    return seconds


def iso(seconds: float | None) -> str | None:
    """Seconds since 1970 -> ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def record_of(values: dict[str, Any], where: str = "") -> NewItem:
    """camera, identity, captured_at, metadata -> NewItem; `where` stands before the field's name in
    errors."""
    _only(values, _RECORD, where or "the record")
    return NewItem(
        label_of(values.get("camera"), f"{where}camera"),
        label_of(values.get("identity"), f"{where}identity"),
        time_of(values.get("captured_at"), f"{where}captured_at"),
        metadata_of(values.get("metadata"), f"{where}metadata"),
    )


def records_of(text: str | None, shared: dict[str, Any], count: int) -> list[NewItem]:
    """One record an image: from the JSON array `records`, or the shared fields for all of them."""
    if text is None:
        return [record_of(shared)] * count
    if any(value is not None for value in shared.values()):
        raise BadRequest(
            "send either records or the fields camera, identity, captured_at, metadata; not both"
        )
    values = json_of(text, "records")
    if not isinstance(values, list) or len(values) != count:
        raise BadRequest(f"records must be a JSON array with one object for each of the {count} images")
    return [record_of(_object(value, f"records[{i}]"), f"records[{i}].") for i, value in enumerate(values)]


def filter_of(text: str | None, camera: str | None = None, identity: str | None = None) -> ItemFilter:
    """The JSON object `filter`, joined with single fields."""
    values = _object(json_of(text, "filter"), "filter") if text else {}
    _only(values, _FILTER, "filter")
    return ItemFilter(
        label_of(values.get("camera", camera), "filter.camera"),
        label_of(values.get("identity", identity), "filter.identity"),
        time_of(values.get("captured_after"), "filter.captured_after"),
        time_of(values.get("captured_before"), "filter.captured_before"),
        metadata_of(values.get("metadata"), "filter.metadata"),
    )


def label_of(value: Any, field: str) -> str | None:
    """A camera or identity: text or an integer, at most 256 characters; empty means none."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BadRequest(f"{field} must be text, not {value!r}")
    if len(str(value)) > MAX_LABEL:
        raise BadRequest(f"{field} has {len(str(value))} characters; at most {MAX_LABEL} are accepted")
    return str(value)


def metadata_of(value: Any, field: str) -> dict[str, Any]:
    """A JSON object (or its text) of plain values."""
    if value is None or value == "":
        return {}
    found = _object(json_of(value, field) if isinstance(value, str) else value, field)
    for key, inner in found.items():
        if inner is not None and not isinstance(inner, (str, int, float, bool)):
            raise BadRequest(f"{field}.{key} must be text, a number, true, false or null")
    if len(json.dumps(found).encode()) > MAX_METADATA:
        raise BadRequest(f"{field} is larger than {MAX_METADATA} bytes")
    return found


def json_of(text: str, field: str) -> Any:
    """JSON, with an error that names the field; NaN and Infinity are no JSON."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{field} is not valid JSON: {error}") from None


def _object(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{field} must be a JSON object, not {type(value).__name__}")
    return value


def _only(values: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise BadRequest(f"{where} has the unknown key {unknown[0]!r}; known: {', '.join(known)}")
