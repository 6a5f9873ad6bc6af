"""Cameras and identities."""

from __future__ import annotations

import unicodedata
from typing import Any

from server.errors import BadRequest
from server.fields.json_text import shown, storable_text

MAX_LABEL = 256  # characters of a camera or an identity


def label_of(value: Any, field: str) -> str | None:
    """A camera or identity: text or an integer, at most 256 characters; empty means none.

    A letter and its accent become one character (NFC), so that one name is one person, whichever system typed
    it.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BadRequest(f"{field} must be text, not {shown(value)}")
    label = unicodedata.normalize("NFC", str(value))
    if len(label) > MAX_LABEL:
        raise BadRequest(f"{field} has {len(label)} characters; at most {MAX_LABEL} are accepted")
    return storable_text(label, field)


def query_camera_of(query_camera: Any, camera: Any) -> str | None:
    """The query's camera, by its name `query_camera` or by the older one, `camera`."""
    label, older = label_of(query_camera, "query_camera"), label_of(camera, "camera")
    if label is not None and older is not None and label != older:
        raise BadRequest(
            f"query_camera {shown(label)} and camera {shown(older)} contradict each other: camera is the "
            f"older name of query_camera. Send query_camera; to restrict the matches send a filter"
        )
    return label if label is not None else older
