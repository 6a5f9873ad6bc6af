"""The calibration by labels of a site's own items."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from server.calibration.by_answers import by_answers
from server.calibration.by_names import by_names
from server.calibration.by_tracks import by_tracks
from server.calibration.source import Source, TooFewLabels
from server.fields.calibration import Labels
from server.gallery.store import Store
from server.labelled import Compare


def of_labels(
    store: Store,
    site: str,
    compare: Compare,
    space_id: str,
    raw_space_id: str,
    labels: Labels | None = None,
    known: Mapping[str, Any] | None = None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The calibration by labels of the site's own items, which `thresholds.report_of` moves to the size that
    the gallery has.

    Args:
        compare, space_id, raw_space_id, check: as of `Source`.
        labels: None takes identities, or where they do not suffice, these and tracks, or answers.
        known: the calibration before, of which a guess is moved by answers.

    Raises TooFewLabels, and what `check` raises.
    """
    source = Source(store, site, compare, space_id, raw_space_id, check)
    if labels == "tracklets":
        return by_tracks(source)
    if labels == "all":
        return by_names(source, with_tracks=True)
    if labels == "answers":
        return by_answers(source, known)
    try:
        return by_names(source, with_tracks=False)
    except TooFewLabels:
        if labels == "identity":
            raise
        with contextlib.suppress(TooFewLabels):
            return by_names(source, with_tracks=True)
        with contextlib.suppress(TooFewLabels):
            return by_answers(source, known)
        raise


def labels_again(known: Mapping[str, Any] | None) -> Labels | None:
    """The labels by which a site is measured again that was measured before; None chooses."""
    labels = ((known or {}).get("measured") or {}).get("labels")
    return labels if labels in ("tracklets", "all") else None
