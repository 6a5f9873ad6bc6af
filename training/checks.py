"""Checks of a recipe's values, before hours are spent on a wrong one."""

from __future__ import annotations

import math
from typing import Any


def one_of(section: Any, **known: tuple[str, ...]) -> None:
    """Raises ValueError for a field of the section whose text is none of those known."""
    for name, choices in known.items():
        if getattr(section, name) not in choices:
            raise ValueError(f"{name} is {getattr(section, name)!r}; choose one of {', '.join(choices)}")


def at_least(least: float, section: Any, *names: str) -> None:
    """Raises ValueError for a field, or one of its values, that is smaller, infinite or not a number."""
    within(least, math.inf, section, *names)


def within(least: float, most: float, section: Any, *names: str) -> None:
    """Raises ValueError for a field, or one of its values, outside these bounds (inclusive)."""
    for name in names:
        field = getattr(section, name)
        for value in field if isinstance(field, tuple) else (field,):
            if not (least <= value <= most and value < math.inf):
                bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
                raise ValueError(f"{name} is {_short(value)}; it must be {bounds}")


def _short(value: float) -> str:
    """A number for a sentence, also a whole one that no float can hold."""
    try:
        return f"{value:g}"
    except OverflowError:
        return "a number of hundreds of digits"
