"""By which labels a site is calibrated."""

from __future__ import annotations

from typing import Literal, get_args

from server.errors import BadRequest
from server.fields.json_text import shown

Labels = Literal["identity", "tracklets", "all", "answers"]
LABELS: tuple[Labels, ...] = get_args(Labels)


def calibrated_by(value: str | None) -> Labels | None:
    """Identities of items, tracks of cameras, both, or answers of the review queue; None or empty chooses.
    Raises BadRequest."""
    if not value:
        return None
    for labels in LABELS:
        if value == labels:
            return labels
    raise BadRequest(
        f"labels is {shown(value)}; send one of {', '.join(LABELS)}, or leave it out to have it chosen"
    )
