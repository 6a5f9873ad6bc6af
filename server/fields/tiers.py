"""Tiers of adaptation."""

from __future__ import annotations

from reid.adaptation.ladder import APART, TIERS
from server.errors import BadRequest
from server.fields.json_text import shown

TIER_CHOICES = ("auto", "none", *TIERS)


def tiers_of(value: str) -> str:
    """`auto`, `none`, or tiers from the top one down, like `1+0`, in whatever order they were named.

    Raises BadRequest.
    """
    if value in ("auto", "none"):
        return value
    named = value.split("+")
    if len(set(named)) < len(named) or not set(named) <= set(TIERS):
        raise BadRequest(
            f"tier {shown(value)} is unknown; it is one of {', '.join(TIER_CHOICES)}, or several of "
            f"{', '.join(TIERS)} together, like 1+0"
        )
    if set(named) >= APART:
        raise BadRequest(
            f"tier {shown(value)}: tiers {' and '.join(sorted(APART))} both start from the model's own "
            "values; take one of them"
        )
    return "+".join(sorted(named, reverse=True))
