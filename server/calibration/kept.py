"""What is kept of a calibration."""

from __future__ import annotations

import math
from typing import Any

from reid.calibration import Calibration
from reid.clusters import least_cosine
from server.calibration.source import Source
from server.counting import people_of_gallery

_MEASURED_ON = {
    "identity": "labels of the site",
    "all": "labels and tracks of the site",
    "tracklets": "tracks of the site",
}


def kept_of(
    source: Source,
    calibration: Calibration,
    figures: dict[str, Any],
    people: int | None,
    error: float | None = None,
) -> dict[str, Any]:
    """What is kept of a calibration."""
    labels = "identity" if figures["labels"] == "all" and not figures["tracks"] else figures["labels"]

    def floor_among(number: int) -> float:
        step = math.log(number / (figures["compared_people"] or number))
        return least_cosine(calibration.slope, calibration.intercept - step)

    source.check()
    shown = people_of_gallery(*source[:3], source.raw_space_id, floor_among)
    source.check()
    figures["compared_people"] = figures["compared_people"] or max(1, shown)
    gallery = {"gallery_people": shown, "gallery_items": source.store.items.count(source.site)}
    return {
        "slope": round(calibration.slope, 4),
        "intercept": round(calibration.intercept, 4),
        "space_id": source.space_id,
        "guess": False,
        "measured_on": _MEASURED_ON.get(labels, ""),
        "people": people,
        "error": error,
        "measured": gallery | figures,
    }
