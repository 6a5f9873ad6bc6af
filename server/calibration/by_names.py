"""By names: alone, or with tracks and answers beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from reid.adaptation.labels import people_across
from reid.calibration import calibrate, fit, weigh
from reid.false_alarms import FalseAlarms, best_wrong_scores, fit_false_alarms
from reid.open_set import open_set_trial
from reid.tracklets import other_names, same_name, same_track
from server.calibration.kept import kept_of
from server.calibration.source import FEWEST_PEOPLE, FEWEST_TRACKS, Source, TooFewLabels, require_rising
from server.labelled import Seen, read

MOST_QUERIES = 2048  # items that are compared with all that are looked at
_QUANTILES = 100  # of the scores of right matches
# what the report says of labels that come from one camera; the figures: docs/answers.md
ONE_CAMERA_AND_NAMES = (
    "crops of one camera are more alike than those of two: where the truth was known, on Market-1501 and "
    "rendered sites, probabilities were 3 to 8 points too high where one camera alone had seen each person, "
    "and two to three times as many false alarms came as were predicted"
)


def by_names(source: Source, with_tracks: bool) -> dict[str, Any]:
    """By people whom two cameras have seen. With tracks, whose items without a name have that of the others;
    and where too few people were seen by two cameras, by what one camera saw of people with names."""
    seen = read(source.store, source.site, source.raw_space_id, source.compare, with_tracks)
    source.check()
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
    # Items that an answer has named were asked about because of their scores, and those asked about that
    # stayed without a name are not here: as queries the named ones would show too many right matches.
    named = np.isin(seen.seqs, [answer.seq for answer in answers if answer.same])
    named |= np.isin(seen.tracks, seen.tracks[named & (seen.tracks >= 0)])  # by an answer about their track
    persons, vectors = seen.names, seen.vectors
    rows = _queries(persons, ~named)
    whom, where = (np.unique(values, return_inverse=True)[1] for values in (persons, seen.cameras))
    try:
        trial = open_set_trial(vectors[rows], vectors, whom[rows], whom, where[rows], where)
        source.check()
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
    require_rising(min(calibration.slope, fitted.calibration.slope), people)
    pairs = {
        "same_name": int(right.sum()),
        "other_name": int((~right).sum()),
        "answered_same": sum(answer.same for answer in asked),
        "answered_different": sum(not answer.same for answer in asked),
    }
    right_scores = np.where(trial.right, trial.best, -1)[trial.known]
    return kept_of(
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
    source.check()
    others = other_names(seen.vectors, whom, rows)
    source.check()
    try:
        ratio, cllr = weigh([track, own], [others])
        alarms = fit_false_alarms(best_wrong_scores(seen.vectors, whom, rows), people - 1)
    except ValueError as failure:
        raise TooFewLabels(
            "its tracks and names do not tell one person from two; look whether they are true", people
        ) from failure
    require_rising(ratio.slope, people)
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
    return kept_of(source, ratio, figures, people=people)


def _tail(alarms: FalseAlarms, right: np.ndarray) -> dict[str, Any]:
    """What thresholds are made of, by `thresholds.report_of`."""
    return {
        "compared": alarms.people,
        "levels": [round(level, 4) for level in alarms.levels],
        "scale": round(alarms.scale, 5),
        # quantiles that stand for the scores of right best matches; -1 where the best one is wrong
        "right_scores": np.quantile(right, (np.arange(_QUANTILES) + 0.5) / _QUANTILES).round(4).tolist(),
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
