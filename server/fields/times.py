"""Times: ISO 8601 or seconds since 1970, one accepted range for both."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

from server.errors import BadRequest
from server.fields.json_text import shown

EARLIEST, LATEST = 0.0, 4_102_444_800.0  # 1970-01-01 and 2100-01-01, both accepted
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_FORMATS = (
    "send ISO 8601, like 2026-05-04 or 2026-05-04T09:30:00Z, or seconds since 1970: a number, or text of 9 "
    "or 10 digits or with a decimal point"
)
# Other text of digits may be meant as a date or a year.
_SECONDS = re.compile(r"\d{9,10}|[+-]?\d+\.\d*([eE][+-]?\d+)?", re.ASCII)
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)([Tt ](\d\d:\d\d)(:\d\d)?([.,]\d{1,9})?(?:([Zz])|([+-])(\d\d):?(\d\d)?)?)?", re.ASCII
)


def time_of(value: Any, field: str = "captured_at") -> float:
    """ISO 8601 text (UTC where it has no offset) or seconds since 1970 -> seconds since 1970, in whole
    microseconds, which is how answers show them. Text is seconds where it has a decimal point, or is 9 or 10
    digits, which are times from 1973 on: `20260504` and `2026` are meant as a date and a year.

    Raises BadRequest for anything else and for a time outside 1970-01-01 to 2100-01-01.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest(f"{field} {value} is no time; send seconds since 1970")
    try:
        seconds = _seconds(value)
    except (ValueError, OverflowError):
        seconds = None
    if seconds is None:
        raise BadRequest(f"{field} {shown(value)} is no time; {_FORMATS}")
    if not EARLIEST <= seconds <= LATEST:
        raise BadRequest(f"{field} {shown(value)} lies outside 1970-01-01 to 2100-01-01")
    return round(seconds, 6)


def optional_time(value: Any, field: str) -> float | None:
    """The same; None and empty text mean that the time is not known."""
    return None if value is None or value == "" else time_of(value, field)


def iso(seconds: float | None) -> str | None:
    """Seconds since 1970 -> ISO 8601 in UTC."""
    if seconds is None:
        return None
    return (_EPOCH + datetime.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def _seconds(value: Any) -> float | None:
    """Seconds since 1970; None for what is no time. Raises ValueError or OverflowError for some of it."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if not isinstance(value, str):
        return float(value)
    if _SECONDS.fullmatch(value):
        return float(value)
    match = _ISO.fullmatch(value)
    if match is None:
        return None
    day, _, clock, second, fraction, _, sign, hours, minutes = match.groups()
    moment = datetime.datetime.fromisoformat(f"{day}T{clock or '00:00'}{second or ':00'}+00:00")
    offset = datetime.time(int(hours or 0), int(minutes or 0))  # which also checks both
    shift = (offset.hour * 3600 + offset.minute * 60) * (-1 if sign == "-" else 1)
    return (moment - _EPOCH).total_seconds() - shift + float(f"0.{fraction[1:]}" if fraction else 0)
