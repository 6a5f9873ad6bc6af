"""Cameras of crops: one for all of them, or one each."""

from __future__ import annotations

from server.errors import BadRequest
from server.fields.json_text import json_of
from server.fields.labels import label_of


def cameras_of(text: str | None, shared: str | None, count: int) -> list[str | None]:
    """The camera of each of `count` images: from the JSON array `cameras`, or `camera` for all of them.

    Raises BadRequest.
    """
    if text is None:
        return [label_of(shared, "camera")] * count
    if shared is not None:
        raise BadRequest("camera and cameras contradict each other; send one of them")
    values = json_of(text, "cameras")
    if not isinstance(values, list) or len(values) != count:
        raise BadRequest(f"cameras must be a JSON array with one camera for each of the {count} images")
    return [label_of(value, f"cameras[{i}]") for i, value in enumerate(values)]
