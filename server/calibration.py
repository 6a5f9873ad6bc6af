"""What the scores of a site mean: measured again in each space that goes live, by labels of its own items
where they suffice; otherwise carried over from the space before, and marked as a guess."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from reid.adaptation.labels import people_across
from reid.bundle import Manifest
from reid.calibration import calibrate
from reid.clusters import least_cosine
from reid.false_alarms import best_wrong_scores, fit_false_alarms
from reid.open_set import open_set_trial
from server.counting import Compare, people_of_gallery
from server.gallery.store import Store
from server.people import POSSIBLE, SURE
from server.reports import CalibrationReport

FEWEST_PEOPLE = 32  # seen by two cameras: a quarter of them, enrolled or not, is in each half of a fit
MOST_ITEMS = 8192  # that are looked at
MOST_QUERIES = 2048  # of these, which are compared with all of them
_QUANTILES = 100  # of the scores of right matches
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


class TooFewLabels(Exception):
    """The labels of a site do not say what its scores mean; the text is a clause that says why.

    Args:
        people: how many have an identity and were seen by two cameras.
    """

    def __init__(self, reason: str, people: int) -> None:
        super().__init__(reason)
        self.people = people


def of_labels(store: Store, site: str, compare: Compare, space_id: str, raw_space_id: str) -> dict[str, Any]:
    """The calibration by labels of the site's own items, which `thresholds.report_of` moves to the size that
    the gallery has.

    Args:
        compare: how embeddings are compared in `space_id`. raw_space_id: where they are stored.

    Raises TooFewLabels.
    """
    vectors, persons, cameras = _labelled(store, site, raw_space_id)
    people = people_across(persons, cameras)
    if people < FEWEST_PEOPLE:
        raise TooFewLabels(
            f"{people} of its people have an identity and were seen by two cameras, and {FEWEST_PEOPLE} are "
            "needed; enroll more people with identity and camera",
            people,
        )
    compared = compare(vectors, cameras)
    rows = _queries(persons)
    whom, where = (np.unique(names, return_inverse=True)[1] for names in (persons, cameras))
    try:
        trial = open_set_trial(compared[rows], compared, whom[rows], whom, where[rows], where)
        (slope, intercept), error, cllr = calibrate(trial)
        alarms = fit_false_alarms(best_wrong_scores(compared, whom, rows), len(set(persons)) - 1)
    except ValueError as failure:
        raise TooFewLabels(
            "too few of the best matches are right or too few are wrong to tell a probability by; look "
            "whether its identities and cameras are true, or enroll more people",
            people,
        ) from failure
    if slope <= 0:
        raise TooFewLabels(
            "by its labels a higher score is a worse match; look whether its identities are true", people
        )
    right = np.where(trial.right, trial.best, -1)[trial.known]
    # that the best match of a query was looked for among, when the probability was fitted
    compared_people = len(set(persons)) - len(np.unique(whom[rows][trial.unknown]))

    def floor_among(people: int) -> float:
        return least_cosine(slope, intercept - math.log(people / compared_people))

    measured = {
        "gallery_people": people_of_gallery(store, site, compare, raw_space_id, floor_among),
        "gallery_items": store.items.count(site),
        "compared_people": compared_people,
        "cllr": round(cllr, 4),
        "compared": alarms.people,
        "levels": [round(level, 4) for level in alarms.levels],
        "scale": round(alarms.scale, 5),
        # quantiles that stand for the scores of right best matches; -1 where the best one is wrong
        "right_scores": np.quantile(right, (np.arange(_QUANTILES) + 0.5) / _QUANTILES).round(4).tolist(),
    }
    return {
        "slope": round(slope, 4),
        "intercept": round(intercept, 4),
        "space_id": space_id,
        "guess": False,
        "measured_on": "labels of the site",
        "people": len(set(persons)),
        "error": round(error, 4),
        "measured": measured,
    }


def _labelled(store: Store, site: str, raw_space_id: str) -> tuple[np.ndarray, list[str], list[str]]:
    """float32 [N,D] as embedded, identities and cameras of items that have both: of too many, some people."""
    if not store.items.any_identity(site):
        return np.empty((0, 0), np.float32), [], []
    seqs, cameras, identities = store.items.labels(site, with_image=False)
    rows = _rows_of_people(identities, cameras)
    stored = store.embeddings.some([int(seq) for seq in seqs[rows]], raw_space_id)
    rows = [row for row in rows if int(seqs[row]) in stored]
    data = b"".join(stored[int(seqs[row])] for row in rows)
    vectors = np.frombuffer(data, "<f2").astype(np.float32).reshape(len(rows), -1 if rows else 0)
    return vectors, [identities[row] or "" for row in rows], [cameras[row] or "" for row in rows]


def _queries(persons: Sequence[str]) -> np.ndarray:
    """int64 [Q]: at most MOST_QUERIES rows, of every person about as many, at equal distances."""
    of_person: dict[str, list[int]] = defaultdict(list)
    for row, person in enumerate(persons):
        of_person[person].append(row)
    each = max(1, MOST_QUERIES // len(of_person))
    chosen: list[int] = []
    for rows in of_person.values():
        places = np.linspace(0, len(rows) - 1, min(each, len(rows))).astype(int)
        chosen += [rows[place] for place in places]
    return np.array(chosen[:MOST_QUERIES])


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
