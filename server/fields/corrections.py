"""New labels of items that are enrolled already."""

from __future__ import annotations

from typing import Any

from server.fields.labels import label_of
from server.fields.records import metadata_of
from server.fields.times import optional_time


def labels_of(values: dict[str, Any], where: str = "", metadata: str = "metadata") -> dict[str, Any]:
    """Some of identity, camera, captured_at, metadata -> the values to store; None and empty text mean that
    an item has none.

    Args:
        where: stands in errors before the name of a field. metadata: what they call that field.

    Raises BadRequest for a value that cannot be stored.
    """
    labels: dict[str, Any] = {}
    for name in ("identity", "camera"):
        if name in values:
            labels[name] = label_of(values[name], f"{where}{name}")
    if "captured_at" in values:
        labels["captured_at"] = optional_time(values["captured_at"], f"{where}captured_at")
    if "metadata" in values:
        labels["metadata"] = metadata_of(values["metadata"], f"{where}{metadata}")
    return labels
