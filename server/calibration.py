"""What the scores of a site mean: measured again in each space that goes live, by labels of its own items
where they suffice; otherwise carried over from the space before, and marked as a guess."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from reid.adaptation.labels import people_across
from reid.bundle import Manifest
from reid.calibration import Calibration, calibrate, fit, moved_by, weigh
from reid.clusters import least_cosine
from reid.false_alarms import FalseAlarms, best_wrong_scores, fit_false_alarms
from reid.open_set import open_set_trial
from reid.tracklets import other_names, same_name, same_second, same_track
from server.counting import people_of_gallery
from server.fields.calibration import Labels
from server.gallery.store import Store
from server.labelled import Compare, Seen, read, read_tracks
from server.people import POSSIBLE, SURE
from server.reports import CalibrationReport

FEWEST_PEOPLE = 32  # seen by two cameras: a quarter of them, enrolled or not, is in each half of a fit
FEWEST_TRACKS = 32  # of two moments, where tracks say what one person looks like
FEWEST_MEETINGS = 32  # of two tracks at one camera in one second, where tracks say what two look like
FEWEST_ANSWERS = 20  # where they alone move a guess
MOST_QUERIES = 2048  # items that are compared with all that are looked at
_QUANTILES = 100  # of the scores of right matches
_RATES = (SURE, POSSIBLE)  # of unknown people who raise a match, for which a card has a threshold
_MEASURED_ON = {
    "identity": "labels of the site",
    "all": "labels and tracks of the site",
    "tracklets": "tracks of the site",
}
# what the report says of labels that come from one camera; the figures: docs/answers.md
ONE_CAMERA_AND_NAMES = (
    "crops of one camera are more alike than those of two: where the truth was known, on Market-1501 and "
    "rendered sites, probabilities were 3 to 8 points too high where one camera alone had seen each person, "
    "and two to three times as many false alarms came as were predicted"
)
ONE_CAMERA_ALONE = (
    "tracks of one camera say little of how alike strangers are: where the truth was known, on Market-1501 "
    "and rendered sites, probabilities were 20 to 24 points too low; name people"
)
BY_ANSWERS = (
    "probabilities suppose as many known people as among the items that were asked about: where the truth "
    "was known, on Market-1501 and rendered sites, they were wrong by 4 to 14 points after 20 answers"
)
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


class Source(NamedTuple):
    """Of which site's items a calibration is measured, and how they are compared.

    Args:
        compare: how embeddings are compared in `space_id`. raw_space_id: where they are stored.
    """

    store: Store
    site: str
    compare: Compare
    space_id: str
    raw_space_id: str


def of_labels(
    store: Store,
    site: str,
    compare: Compare,
    space_id: str,
    raw_space_id: str,
    labels: Labels | None = None,
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The calibration by labels of the site's own items, which `thresholds.report_of` moves to the size that
    the gallery has.

    Args:
        compare, space_id, raw_space_id: as of `Source`. labels: None takes identities, or where they do not
            suffice, these and tracks, or answers. known: the calibration before, of which a guess is moved by
            answers.

    Raises TooFewLabels.
    """
    source = Source(store, site, compare, space_id, raw_space_id)
    if labels == "tracklets":
        return _by_tracks(source)
    if labels == "all":
        return _by_names(source, with_tracks=True)
    if labels == "answers":
        return _by_answers(source, known)
    try:
        return _by_names(source, with_tracks=False)
    except TooFewLabels:
        if labels == "identity":
            raise
        with contextlib.suppress(TooFewLabels):
            return _by_names(source, with_tracks=True)
        with contextlib.suppress(TooFewLabels):
            return _by_answers(source, known)
        raise


def labels_again(known: Mapping[str, Any] | None) -> Labels | None:
    """The labels by which a site is measured again that was measured before; None chooses."""
    labels = ((known or {}).get("measured") or {}).get("labels")
    return labels if labels in ("tracklets", "all") else None


def _by_names(source: Source, with_tracks: bool) -> dict[str, Any]:
    """By people whom two cameras have seen. With tracks, whose items without a name have that of the others;
    and where too few people were seen by two cameras, by what one camera saw of people with names."""
    seen = read(source.store, source.site, source.raw_space_id, source.compare, with_tracks)
    people = people_across(seen.names, seen.cameras)
    if people < FEWEST_PEOPLE:
        if with_tracks:
            return _by_names_and_tracks(source, seen)
        raise TooFewLabels(
            f"{people} of its people have an identity and were seen by two cameras, and {FEWEST_PEOPLE} are "
            "needed; enroll more people with identity and camera, or with tracks (docs/answers.md)",
            people,
        )
    answers = source.store.reviews.answered(source.site)
    # who was named by an answer was asked about because of its score, and who was not named stays away
    named = np.isin(seen.seqs, [answer.seq for answer in answers if answer.same])
    named |= np.isin(seen.tracks, seen.tracks[named & (seen.tracks >= 0)])  # by an answer about their track
    persons, vectors = seen.names, seen.vectors
    rows = _queries(persons, ~named)
    whom, where = (np.unique(values, return_inverse=True)[1] for values in (persons, seen.cameras))
    try:
        trial = open_set_trial(vectors[rows], vectors, whom[rows], whom, where[rows], where)
        fitted = calibrate(trial)
        alarms = fit_false_alarms(best_wrong_scores(vectors, whom, rows), len(set(persons)) - 1)
    except ValueError as failure:
        raise TooFewLabels(
            "too few of the best matches are right or too few are wrong to tell a probability by; look "
            "whether its identities and cameras are true, or enroll more people",
            people,
        ) from failure
    asked = [answer for answer in answers if answer.asked.space_id == source.space_id]
    queries = trial.unknown | trial.known
    judged, right = trial.best[queries], trial.right[queries]
    # those who judged the fit are fitted to as well, once they have
    calibration = fit(
        np.concatenate([judged, [answer.asked.score for answer in asked]]),
        np.concatenate([right, np.array([answer.same for answer in asked], bool)]),
        np.arange(len(judged) + len(asked)) >= len(judged),
    )
    _require_rising(min(calibration.slope, fitted.calibration.slope), people)
    pairs = {
        "same_name": int(right.sum()),
        "other_name": int((~right).sum()),
        "answered_same": sum(answer.same for answer in asked),
        "answered_different": sum(not answer.same for answer in asked),
    }
    right_scores = np.where(trial.right, trial.best, -1)[trial.known]
    return _measured(
        source,
        calibration,
        {
            "labels": "all" if with_tracks else "identity",
            "pairs": pairs,
            "tracks": seen.tracks_named,
            "torn_tracks": seen.torn,
            # that the best match of a query was looked for among, when the probability was fitted
            "compared_people": len(set(persons)) - len(np.unique(whom[rows][trial.unknown])),
            "cllr": round(fitted.cllr, 4),
        }
        | _tail(alarms, right_scores),
        people=len(set(persons)),
        error=round(fitted.error, 4),
    )


def _by_names_and_tracks(source: Source, seen: Seen) -> dict[str, Any]:
    """By people with names, each of whom one camera suffices to have seen, as far as tracks show them."""
    whom, where = (np.unique(values, return_inverse=True)[1] for values in (seen.names, seen.cameras))
    people = len(set(seen.names))
    track = same_track(seen.vectors, seen.tracks, seen.times)
    shown = len(np.unique(track.askers))
    if people < FEWEST_PEOPLE or shown < FEWEST_TRACKS:
        raise TooFewLabels(
            f"{people_across(seen.names, seen.cameras)} of its people have an identity and were seen by two "
            f"cameras; of {people} who have an identity and a camera, {shown} tracks have two moments. "
            f"{FEWEST_PEOPLE} people are needed, and {FEWEST_TRACKS} tracks where fewer were seen by two "
            "cameras; enroll more people, with identity, camera, captured_at and metadata.track",
            people,
        )
    own, rows = same_name(seen.vectors, whom, where), _queries(seen.names)
    others = other_names(seen.vectors, whom, rows)
    try:
        ratio, cllr = weigh([track, own], [others])
        alarms = fit_false_alarms(best_wrong_scores(seen.vectors, whom, rows), people - 1)
    except ValueError as failure:
        raise TooFewLabels(
            "its tracks and names do not tell one person from two; look whether they are true", people
        ) from failure
    _require_rising(ratio.slope, people)
    figures = {
        "labels": "all",
        "pairs": {
            "same_track": len(track.scores),
            "same_name": len(own.scores),
            "other_name": len(others.scores),
        },
        "tracks": shown,
        "torn_tracks": seen.torn,
        "notes": [ONE_CAMERA_AND_NAMES],
        "compared_people": 1,
        "cllr": round(cllr, 4),
    }
    figures |= _tail(alarms, np.concatenate([track.scores, own.scores]))
    return _measured(source, ratio, figures, people=people)


def _by_tracks(source: Source) -> dict[str, Any]:
    """By tracks alone. It is a guess, and has no thresholds: how rare a high score of another person is,
    pairs of one camera do not tell."""
    seen = read_tracks(source.store, source.site, source.raw_space_id, source.compare)
    one = same_track(seen.vectors, seen.tracks, seen.times)
    two, met = same_second(seen.vectors, seen.tracks, seen.cameras, seen.times, seen.names)
    shown = len(np.unique(one.askers))
    if shown < FEWEST_TRACKS or met < FEWEST_MEETINGS:
        raise TooFewLabels(
            f"{shown} of its tracks have two moments, and {FEWEST_TRACKS} are needed; {met} pairs of tracks "
            f"were seen by one camera in one second, and {FEWEST_MEETINGS} are needed; enroll more crops of "
            "each track, with camera, captured_at and metadata.track",
            0,
        )
    try:
        ratio, cllr = weigh([one], [two])
    except ValueError as failure:
        raise TooFewLabels("too few of its tracks were seen in the same second", 0) from failure
    _require_rising(ratio.slope, 0)
    figures = {
        "labels": "tracklets",
        "pairs": {"same_track": len(one.scores), "same_second": len(two.scores)},
        "tracks": shown,
        "torn_tracks": seen.torn,
        "notes": [ONE_CAMERA_ALONE],
        "compared_people": 1,
        "cllr": round(cllr, 4),
    }
    return _measured(source, ratio, figures, people=None) | {"guess": True}


def _by_answers(source: Source, known: Mapping[str, Any] | None) -> dict[str, Any]:
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
    _require_rising(moved.slope, 0)
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
    return _measured(source, moved, figures, people=None) | {
        "guess": True,
        "measured_on": f"{card['measured_on']}, and answers of the site",
    }


def _require_rising(slope: float, people: int) -> None:
    if slope <= 0:
        raise TooFewLabels(
            "by its labels a higher score is a worse match; look whether its identities are true", people
        )


def _tail(alarms: FalseAlarms, right: np.ndarray) -> dict[str, Any]:
    """What thresholds are made of, by `thresholds.report_of`."""
    return {
        "compared": alarms.people,
        "levels": [round(level, 4) for level in alarms.levels],
        "scale": round(alarms.scale, 5),
        # quantiles that stand for the scores of right best matches; -1 where the best one is wrong
        "right_scores": np.quantile(right, (np.arange(_QUANTILES) + 0.5) / _QUANTILES).round(4).tolist(),
    }


def _measured(
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

    shown = people_of_gallery(*source[:3], source.raw_space_id, floor_among)
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


def _queries(persons: Sequence[str], may: np.ndarray | None = None) -> np.ndarray:
    """int64 [Q]: at most MOST_QUERIES rows, of every person about as many, at equal distances.

    Args:
        may: bool [N], which rows may ask; None: all.
    """
    of_person: dict[str, list[int]] = defaultdict(list)
    for row, person in enumerate(persons):
        if may is None or may[row]:
            of_person[person].append(row)
    each = max(1, MOST_QUERIES // max(1, len(of_person)))
    chosen: list[int] = []
    for rows in of_person.values():
        places = np.linspace(0, len(rows) - 1, min(each, len(rows))).astype(int)
        chosen += [rows[place] for place in places]
    return np.array(chosen[:MOST_QUERIES], np.int64)
