"""Ids of items and jobs."""

from __future__ import annotations

import re

_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


def is_id(text: str) -> bool:
    """False for text that can be no id, and that not every database could compare with one."""
    return _ID.fullmatch(text) is not None
