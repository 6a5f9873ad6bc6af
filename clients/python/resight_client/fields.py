"""Times and JSON as the server reads them."""

from __future__ import annotations

import datetime
import json
from typing import Any, Union

from resight_client.values import ResightError

# ISO 8601, seconds since 1970, or a date or datetime; without a time zone, UTC is meant
Time = Union[str, float, datetime.date]
Filter = Union[dict[str, Any], str]  # docs/filters.md, as values or as JSON text
Threshold = Union[float, dict[str, float]]  # a cosine, or {"false_alarms_per_1000": 5}


def time_text(time: Time | None) -> str | float | None:
    """A time for a text field. A whole number gets a decimal point: digits alone may be a date."""
    plain: str | float | None = _plain(time)
    return f"{plain}.0" if isinstance(plain, int) and not isinstance(plain, bool) else plain


def json_text(value: Any, field: str) -> str:
    """JSON in which dates and datetimes are ISO 8601 and numpy's numbers are numbers.

    Raises ResightError for what JSON cannot hold, before anything is sent.
    """
    try:
        return json.dumps(value, default=_strictly)
    except (TypeError, ValueError, RecursionError) as error:
        raise ResightError(0, "no-json", f"{field} is no JSON: {error}; nothing was sent") from error


def filter_text(filter: Filter | None) -> str | None:
    """A filter as JSON text; text stays as it is."""
    return filter if filter is None or isinstance(filter, str) else json_text(filter, "filter")


def threshold_text(threshold: Threshold | None) -> str | None:
    """A threshold for a text field."""
    if isinstance(threshold, dict):
        return json_text(threshold, "threshold")
    return None if threshold is None else str(threshold)


def _plain(value: Any) -> Any:
    """A date, datetime or number of numpy's as text or number; anything else as it is."""
    if isinstance(value, datetime.datetime):
        if value.utcoffset() is not None:
            value = value.astimezone(datetime.timezone.utc)
        return value.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if type(value).__module__ == "numpy" and not getattr(value, "shape", ()):
        return str(value) if type(value).__name__ == "datetime64" else value.item()
    return value


def _strictly(value: Any) -> Any:
    plain = _plain(value)
    if plain is value:
        raise TypeError(f"it holds {type(value).__name__} {str(value)[:40]!r}")
    return plain
