"""By answers of the review queue alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reid.calibration import Calibration, moved_by
from server.calibration.kept import kept_of
from server.calibration.source import Source, TooFewLabels, require_rising

FEWEST_ANSWERS = 20  # where they alone move a guess
BY_ANSWERS = (
    "probabilities suppose as many known people as among the items that were asked about: where the truth "
    "was known, on Market-1501 and rendered sites, they were wrong by 4 to 14 points after 20 answers"
)


def by_answers(source: Source, known: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the model's card says, moved by answers of the review queue. It stays a guess, and has no
    thresholds."""
    answers = [
        answer
        for answer in source.store.reviews.answered(source.site)
        if answer.asked.space_id == source.space_id
    ]
    if len(answers) < FEWEST_ANSWERS:
        raise TooFewLabels(
            f"{len(answers)} answers of its review queue are about one item and its best match as they are "
            f"compared now, and {FEWEST_ANSWERS} are needed; answer more, or name more people",
            0,
        )
    card = ((known or {}).get("measured") or {}).get("card", known)
    if card is None or card["space_id"] != source.space_id or card.get("measured") is not None:
        raise TooFewLabels(
            "answers move what the model's card says of this space, and it says nothing, or the site was "
            "measured by its own labels since; take those, or name more people",
            0,
        )
    scores = np.array([answer.asked.score for answer in answers])
    same = np.array([answer.same for answer in answers])
    moved = moved_by(Calibration(card["slope"], card["intercept"]), scores, same)
    require_rising(moved.slope, 0)
    figures = {
        "labels": "answers",
        "pairs": {"answered_same": int(same.sum()), "answered_different": int((~same).sum())},
        "tracks": 0,
        "torn_tracks": 0,
        "notes": [BY_ANSWERS],
        "compared_people": None,  # those of the gallery as it is
        "cllr": None,
        "card": dict(card),
    }
    return kept_of(source, moved, figures, people=None) | {
        "guess": True,
        "measured_on": f"{card['measured_on']}, and answers of the site",
    }
