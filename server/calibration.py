"""What the scores of a site mean: measured again in each space that goes live, by labels of its own items
where they suffice; otherwise carried over from the space before, and marked as a guess."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from reid.adaptation.labels import people_across
from reid.bundle import Manifest
from reid.calibration import calibrate
from reid.open_set import open_set_rates, open_set_trial
from reid.profile import Profile
from server.gallery.records import Embedded
from server.gallery.store import Store
from server.people import POSSIBLE, SURE
from server.reports import CalibrationReport

FEWEST_PEOPLE = 32  # seen by two cameras: a quarter of them, enrolled or not, is in each half of a fit
MOST_ITEMS = 2048  # that are compared with each other
_RATES = (SURE, POSSIBLE)  # of unknown people who raise a match, for which there is a threshold
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


def of_labels(
    store: Store, site: str, stored: Sequence[Embedded], profile: Profile, space_id: str
) -> dict[str, Any] | None:
    """The calibration by labels of the site's own items; None where they do not suffice.

    Args:
        stored: every embedding of the site, as embedded. profile: how they are compared, in `space_id`.
    """
    if not store.items.any_identity(site):
        return None
    seqs, cameras, identities = store.items.labels(site, with_image=False)
    if people_across(identities, cameras) < FEWEST_PEOPLE:
        return None
    rows = _rows_of_people(identities, cameras)
    vectors = _vectors(stored, seqs[rows])
    present = [row for row in rows if int(seqs[row]) in vectors]
    places = [cameras[row] for row in present]
    compared = profile.compare(np.array([vectors[int(seqs[row])] for row in present]), places)
    persons = np.unique([identities[row] or "" for row in present], return_inverse=True)[1]
    where = np.unique([place or "" for place in places], return_inverse=True)[1]
    try:
        trial = open_set_trial(compared, compared, persons, persons, where, where)
        calibration, error = calibrate(trial)
    except ValueError:  # too few right or wrong best matches
        return None
    if calibration.slope <= 0:  # the labels say that a high score is a worse match
        return None
    costs = open_set_rates(trial, _RATES)
    return CalibrationReport(
        slope=round(calibration.slope, 4),
        intercept=round(calibration.intercept, 4),
        thresholds={str(rate): round(cost.threshold, 4) for rate, cost in costs.items()},
        space_id=space_id,
        guess=False,
        measured_on="labels of the site",
        people=len(np.unique(persons)),
        error=round(error, 4),
    ).model_dump()


def _rows_of_people(identities: Sequence[str | None], cameras: Sequence[str | None]) -> list[int]:
    """At most MOST_ITEMS rows with an identity and a camera: whole people, at equal distances in the order
    in which they were first enrolled where there are too many."""
    of_person: dict[str, list[int]] = defaultdict(list)
    for row, (identity, camera) in enumerate(zip(identities, cameras, strict=True)):
        if identity and camera:
            of_person[identity].append(row)
    people = list(of_person.values())
    step = max(1, -(-sum(map(len, people)) // MOST_ITEMS))
    chosen: list[int] = []
    for rows in people[::step]:
        if len(chosen) + len(rows) <= MOST_ITEMS:
            chosen += rows
    return chosen


def _vectors(stored: Sequence[Embedded], seqs: np.ndarray) -> dict[int, np.ndarray]:
    """float16 [D] by seq."""
    by_seq: dict[int, np.ndarray] = {}
    for chunk in stored:
        for row in np.flatnonzero(np.isin(chunk.seqs, seqs)):
            by_seq[int(chunk.seqs[row])] = chunk.vectors[row]
    return by_seq
