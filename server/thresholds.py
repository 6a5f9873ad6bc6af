"""A version's calibration at the present size of its gallery: the more people, the higher the best wrong one
scores, so thresholds and probabilities move with their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from reid.false_alarms import FalseAlarms, people_needed
from server.errors import Conflict
from server.gallery.records import Version
from server.people import POSSIBLE, RARE, SURE
from server.reports import CalibrationReport, MeasuredReport

_NO_NAMES = "this takes people with an identity: what it was measured by does not say how alike strangers are"
_BY_WHAT = ("labels", "pairs", "tracks", "torn_tracks", "notes")
RATES = (POSSIBLE, SURE, RARE)  # of unknown people's queries that raise a false alarm: each has a threshold


def calibration_of(version: Version) -> Mapping[str, Any] | None:
    """What scores mean in the version's own space; None where only those of another space are known: an
    adaptation moves all scores."""
    known = version.calibration
    return known if known is not None and known["space_id"] == version.space_id else None


def people_now(known: Mapping[str, Any], items: int) -> int:
    """How many people a gallery of so many items holds: as many an item as when they were counted. Rounded up
    to three digits, so that not every item that is enrolled makes other thresholds."""
    measured = known["measured"]
    people = math.ceil(measured["gallery_people"] * items / max(1, measured["gallery_items"]))
    unit = 10 ** max(0, len(str(people)) - 3)
    return max(1, -(-people // unit) * unit)


def report_of(known: Mapping[str, Any], items: int) -> CalibrationReport:
    """A stored calibration as callers see it, in a gallery of so many items."""
    measured = known.get("measured")
    values = {name: value for name, value in known.items() if name in CalibrationReport.model_fields}
    if measured is None:  # of a model's card, or by an older version of Resight: at the size of that gallery
        return CalibrationReport.model_validate(values)
    people = people_now(known, items)
    thresholds: dict[str, float | None] = {}
    missed: dict[str, float | None] = {}
    refused: dict[str, str] = {}
    for rate in RATES:
        thresholds[str(rate)] = missed[str(rate)] = None
        if "levels" not in measured:
            refused[str(rate)] = _NO_NAMES
            continue
        alarms = _alarms(measured)
        if not alarms.reaches(rate, people):
            refused[str(rate)] = _too_few(alarms, rate, people)
            continue
        threshold = thresholds[str(rate)] = round(alarms.threshold(rate, people), 4)
        missed[str(rate)] = _missed(measured, threshold)
    return CalibrationReport(
        **values
        | {
            # a wrong best match becomes likelier with every person, a right one does not
            "intercept": round(known["intercept"] - math.log(people / measured["compared_people"]), 4),
            "thresholds": thresholds,
            "measured": MeasuredReport(
                gallery_people=measured["gallery_people"],
                gallery_items=measured["gallery_items"],
                people_now=people,
                missed=missed,
                refused=refused,
                cllr=measured["cllr"],
                # older versions of Resight measured by identities alone
                **{name: measured[name] for name in _BY_WHAT if name in measured},
            ),
        }
    )


class RatePoint(NamedTuple):
    """What a rate of false alarms costs.

    Args:
        threshold: the cosine that keeps the rate; None where labels are too few.
        missed: the share of queries of enrolled people that are not identified then; None likewise.
        people_needed: how many people have to be labelled.
    """

    false_alarms_per_1000: float
    threshold: float | None
    missed: float | None
    people_needed: int


def curve_of(version: Version, items: int, rates_per_1000: Sequence[float]) -> list[RatePoint]:
    """What each rate of false alarms costs in a gallery of so many items, as `threshold_for` would say; empty
    where nothing that was measured at the site says so."""
    known = calibration_of(version)
    if known is None or known["guess"] or known.get("measured") is None:
        return []
    measured = known["measured"]
    alarms, people = _alarms(measured), people_now(known, items)
    points = []
    for per_1000 in rates_per_1000:
        rate = per_1000 / 1000
        needed = people_needed(rate, people)
        if not alarms.reaches(rate, people):
            points.append(RatePoint(per_1000, None, None, needed))
            continue
        threshold = round(alarms.threshold(rate, people), 6)
        points.append(RatePoint(per_1000, threshold, _missed(measured, threshold), needed))
    return points


def threshold_for(version: Version, false_alarms_per_1000: float, items: int) -> float:
    """The lowest cosine by which so many of 1,000 queries of unknown people find somebody.

    Raises Conflict where nothing that was measured at the site says so.
    """
    known = calibration_of(version)
    if known is None or known["guess"] or known.get("measured") is None:
        raise Conflict(
            f"site {version.site!r} is not calibrated by its own labels, so no rate of false alarms has a "
            f"threshold; send a cosine, or calibrate the site first"
        )
    alarms, people = _alarms(known["measured"]), people_now(known, items)
    rate = false_alarms_per_1000 / 1000
    if not alarms.reaches(rate, people):
        raise Conflict(
            f"site {version.site!r} has too few labels: {_too_few(alarms, rate, people)}",
            people_needed=people_needed(rate, people),
        )
    return round(alarms.threshold(rate, people), 6)


def _missed(measured: Mapping[str, Any], threshold: float) -> float:
    """The share of queries of enrolled people that are not identified above a threshold."""
    return round(float(np.mean(np.array(measured["right_scores"]) <= threshold)), 4)


def _too_few(alarms: FalseAlarms, rate: float, people: int) -> str:
    return (
        f"{1000 * rate:g} false alarms in 1,000 queries among about {people} people need "
        f"{people_needed(rate, people)} people with an identity and a camera, and {alarms.people + 1} were "
        "compared; label more people, or take a higher rate"
    )


def _alarms(measured: Mapping[str, Any]) -> FalseAlarms:
    return FalseAlarms(measured["compared"], tuple(measured["levels"]), measured["scale"])
