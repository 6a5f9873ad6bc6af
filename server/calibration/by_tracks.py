"""By tracks alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from reid.calibration import weigh
from reid.tracklets import same_second, same_track
from server.calibration.kept import kept_of
from server.calibration.source import FEWEST_TRACKS, Source, TooFewLabels, require_rising
from server.labelled import read_tracks

FEWEST_MEETINGS = 32  # of two tracks at one camera in one second, where tracks say what two look like
ONE_CAMERA_ALONE = (
    "tracks of one camera say little of how alike strangers are: where the truth was known, on Market-1501 "
    "and rendered sites, probabilities were 20 to 24 points too low; name people"
)


def by_tracks(source: Source) -> dict[str, Any]:
    """By tracks alone. It is a guess, and has no thresholds: how rare a high score of another person is,
    pairs of one camera do not tell."""
    seen = read_tracks(source.store, source.site, source.raw_space_id, source.compare)
    source.check()
    one = same_track(seen.vectors, seen.tracks, seen.times)
    source.check()
    two, met = same_second(seen.vectors, seen.tracks, seen.cameras, seen.times, seen.names)
    shown = len(np.unique(one.askers))
    missing: list[str] = []
    if shown < FEWEST_TRACKS:
        missing.append(f"{shown} of its tracks have two moments, and {FEWEST_TRACKS} are needed")
    if met < FEWEST_MEETINGS:
        missing.append(
            f"{met} pairs of its tracks were seen by one camera in one second, and {FEWEST_MEETINGS} are "
            "needed"
        )
    if missing:
        advice = "enroll more crops of each track, with camera, captured_at and metadata.track"
        raise TooFewLabels("; ".join([*missing, advice]), 0)
    try:
        ratio, cllr = weigh([one], [two])
    except ValueError as failure:
        raise TooFewLabels("too few of its tracks were seen in the same second", 0) from failure
    require_rising(ratio.slope, 0)
    figures = {
        "labels": "tracklets",
        "pairs": {"same_track": len(one.scores), "same_second": len(two.scores)},
        "tracks": shown,
        "torn_tracks": seen.torn,
        "notes": [ONE_CAMERA_ALONE],
        "compared_people": 1,
        "cllr": round(cllr, 4),
    }
    return kept_of(source, ratio, figures, people=None) | {"guess": True}
