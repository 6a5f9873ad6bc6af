"""Vectors as text: a JSON array of numbers, or base64 of their bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np

from server.errors import BadRequest
from server.fields.json_text import json_of, kind_of, shown

_FORMS = "send a JSON array of numbers, or base64 of little-endian float32 numbers"


def vectors_of(texts: Sequence[str]) -> list[np.ndarray]:
    """float32 [n] of each text. Whether it is a vector of a space is not looked at. Raises BadRequest."""
    return [vector_of(text, f"vector {index}") for index, text in enumerate(texts)]


def vector_of(text: str, field: str) -> np.ndarray:
    """float32 [n]: numbers beyond float32 become infinite. Raises BadRequest."""
    if text.lstrip().startswith("["):
        return _of_array(text, field)
    try:
        data = base64.b64decode(text.strip(), validate=True)  # a file often ends with a new line
    except (binascii.Error, ValueError):
        raise BadRequest(f"{field} is {shown(text)}; {_FORMS}") from None
    if len(data) % 4:
        raise BadRequest(f"{field} is base64 of {len(data)} bytes, and a number has four; {_FORMS}")
    return np.frombuffer(data, "<f4").astype(np.float32)


def _of_array(text: str, field: str) -> np.ndarray:
    values = json_of(text, field)
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            hint = "; send each vector by itself" if isinstance(value, list) else ""
            raise BadRequest(f"{field}: number {place} is {kind_of(value)}{hint}")
    with np.errstate(over="ignore"):
        return np.array([float(value) for value in values], np.float64).astype(np.float32)
