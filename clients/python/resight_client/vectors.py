"""What may be sent as vectors, as text: base64 of little-endian float32 numbers."""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Sequence
from typing import Any, Union

from resight_client.values import ResightError

# one vector: its numbers in order, or an array [D]; several: a sequence of these, or an array [N,D]
OneOrMore = Union[Sequence[float], Sequence[Sequence[float]], Any]


def vector_texts(vectors: OneOrMore) -> list[str]:
    """A text for each vector. Raises ResightError for what is none, before anything is sent."""
    listed = _listed(vectors)
    several = bool(listed) and not _is_number(listed[0])
    texts = [_text(number, vector) for number, vector in enumerate(listed if several else [listed])]
    if not texts or texts == [""]:
        raise _no_vector("there is no vector")
    return texts


def _text(number: int, vector: Any) -> str:
    try:
        numbers = array.array("f", _listed(vector))
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_vector(f"vector {number} is no sequence of numbers: {error}") from error
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def _listed(values: Any) -> list[Any]:
    """A list of a sequence or an array; text and bytes are none, although they have a length."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise _no_vector(f"{type(values).__name__} {str(values)[:40]!r} is no vector")
    return list(values)


def _is_number(value: Any) -> bool:
    """True for a number, also for one of numpy's, which is a sequence of nothing."""
    return not hasattr(value, "__len__") and hasattr(value, "__float__")


def _no_vector(sentence: str) -> ResightError:
    return ResightError(0, "no-vector", f"{sentence}; nothing was sent")
