"""Thresholds of a query: a cosine, or how many false alarms are allowed."""

from __future__ import annotations

import dataclasses

from server.errors import BadRequest
from server.fields.json_text import json_of, object_of, only_keys, shown

_RATE = "false_alarms_per_1000"


@dataclasses.dataclass(frozen=True)
class AllowedAlarms:
    """The threshold by which so many of 1,000 queries of unknown people still find somebody; above 0 and
    below 1,000."""

    per_1000: float


def allowed_alarms(per_1000: float) -> AllowedAlarms:
    """A rate of false alarms. Raises BadRequest."""
    if not 0 < per_1000 < 1000:  # also where it is NaN
        raise BadRequest(f"{_RATE} is {per_1000:g}; it must be above 0 and below 1000")
    return AllowedAlarms(per_1000)


def threshold_of(text: str | None) -> float | AllowedAlarms | None:
    """A cosine from -1 to 1, or a JSON object like {"false_alarms_per_1000": 5}. Raises BadRequest."""
    if text is None:
        return None
    if not text.lstrip().startswith("{"):
        return cosine(_number(text))
    values = object_of(json_of(text, "threshold"), "threshold")
    only_keys(values, (_RATE,), "threshold")
    rate = values.get(_RATE)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        raise BadRequest(f'threshold needs a number, like {{"{_RATE}": 5}}')
    return allowed_alarms(rate)


def cosine(value: float) -> float:
    """The lowest cosine to return. Raises BadRequest."""
    if not -1 <= value <= 1:  # also where it is NaN
        raise BadRequest(f"threshold is {value}; a cosine lies between -1 and 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadRequest(
            f'threshold is {shown(text)}; send a cosine, like 0.8, or {{"{_RATE}": 5}}'
        ) from None
