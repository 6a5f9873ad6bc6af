"""What a model's card says of scores, until a site's own labels say it."""

from __future__ import annotations

from typing import Any

from reid.bundle import Manifest
from server.people import POSSIBLE, SURE
from server.reports import CalibrationReport

_RATES = (SURE, POSSIBLE)  # of unknown people who raise a match, for which a card has a threshold
# as the model's card calls them
_SLOPE, _INTERCEPT = "calibration slope", "calibration intercept"
_THRESHOLDS = {str(rate): f"threshold at FPIR {rate:.0%}" for rate in _RATES}


def carried_over(calibration: dict[str, Any]) -> dict[str, Any]:
    """A calibration in another space than its own."""
    return calibration | {"guess": True}


def of_card(manifest: Manifest, space_id: str) -> dict[str, Any] | None:
    """The calibration that the model's card states; None where it states none. Of several data sets the one
    with the highest threshold: too few matches are shown rather than wrong ones.

    Args:
        space_id: of the bundle's own values.
    """
    on_card = {_SLOPE, _INTERCEPT, *_THRESHOLDS.values()}
    stated = [metrics for metrics in manifest.metrics if on_card <= set(metrics)]
    if not stated:
        return None
    most = max(stated, key=lambda metrics: float(metrics[_THRESHOLDS["0.01"]]))
    error = most.get("calibration error")
    return CalibrationReport(
        slope=most[_SLOPE],
        intercept=most[_INTERCEPT],
        thresholds={rate: most[name] for rate, name in _THRESHOLDS.items()},
        space_id=space_id,
        guess=True,
        measured_on=str(most.get("dataset", "a data set that the card does not name")),
        people=None,
        error=None if error is None else round(error / 100, 4),
    ).model_dump()
