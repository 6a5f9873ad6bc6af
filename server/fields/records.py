"""What is enrolled with a crop: camera, identity, captured_at, metadata."""

from __future__ import annotations

import json
import math
from typing import Any

from server.errors import BadRequest
from server.fields.json_text import json_of, kind_of, object_of, only_keys, shown
from server.fields.labels import label_of
from server.fields.times import optional_time
from server.gallery.records import NewItem

MAX_METADATA = 16_384  # bytes of an item's metadata as JSON
_RECORD = ("camera", "identity", "captured_at", "metadata")


def record_of(values: dict[str, Any], where: str = "", metadata: str = "metadata") -> NewItem:
    """camera, identity, captured_at, metadata -> NewItem. Raises BadRequest.

    Args:
        where: stands in errors before the name of a field. metadata: what they call that field.
    """
    only_keys(values, _RECORD, where.rstrip(".") or "the record")
    return NewItem(
        label_of(values.get("camera"), f"{where}camera"),
        label_of(values.get("identity"), f"{where}identity"),
        optional_time(values.get("captured_at"), f"{where}captured_at"),
        metadata_of(values.get("metadata"), f"{where}{metadata}"),
    )


def records_of(text: str | None, shared: dict[str, Any], count: int, what: str = "images") -> list[NewItem]:
    """One record an image: from the JSON array `records`, or the shared fields for all of them.

    Args:
        what: is called so in errors.
    """
    if text is None:
        return [record_of(shared)] * count
    if any(value is not None for value in shared.values()):
        raise BadRequest(
            "send either records or the fields camera, identity, captured_at, metadata; not both"
        )
    values = json_of(text, "records")
    if not isinstance(values, list) or len(values) != count:
        raise BadRequest(f"records must be a JSON array with one object for each of the {count} {what}")
    return [record_of(object_of(value, f"records[{i}]"), f"records[{i}].") for i, value in enumerate(values)]


def metadata_of(value: Any, field: str) -> dict[str, Any]:
    """A JSON object (or its text) of plain values; None and empty text mean none."""
    if value is None or value == "":
        return {}
    values = object_of(json_of(value, field) if isinstance(value, str) else value, field)
    for key, inner in values.items():
        plain_value(inner, f"{field}.{key}")
    if len(json.dumps(values).encode()) > MAX_METADATA:
        raise BadRequest(f"{field} is larger than {MAX_METADATA} bytes")
    return values


def plain_value(value: Any, field: str) -> str | int | float | bool | None:
    """A value that metadata can hold: text, a number, true, false or null.

    Raises BadRequest for anything else, an integer beyond 64 bits and a number that is not finite.
    """
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise BadRequest(f"{field} must be text, a number, true, false or null, not {kind_of(value)}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise BadRequest(
            f"{field} is {shown(value)}: an integer beyond 64 bits cannot be stored; send it as text"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest(f"{field} is {value}: only finite numbers can be stored")
    return value
