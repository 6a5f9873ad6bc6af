"""What the values of a recipe's sections may be, said before hours are spent."""

from __future__ import annotations

import math
from typing import Any


def one_of(section: Any, **known: tuple[str, ...]) -> None:
    """ValueError for a field of the section whose text is none of those known."""
    for name, choices in known.items():
        if getattr(section, name) not in choices:
            raise ValueError(f"{name} is {getattr(section, name)!r}; choose one of {', '.join(choices)}")


def at_least(least: float, section: Any, *names: str) -> None:
    """ValueError for a field that is smaller, infinite or not a number; of a field with several values, for
    any of them."""
    within(least, math.inf, section, *names)


def within(least: float, most: float, section: Any, *names: str) -> None:
    """ValueError for a field outside these bounds, which belong to them; of a field with several values, for
    any of them."""
    for name in names:
        found = getattr(section, name)
        for value in found if isinstance(found, tuple) else (found,):
            if not (least <= value <= most and math.isfinite(value)):
                bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
                raise ValueError(f"{name} is {value:g}; it has to be {bounds}")
