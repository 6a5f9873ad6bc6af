"""From a score to the probability that the best match is the right person (Platt 1999), and how far off such
probabilities are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reid.open_set import Trial


class Calibration(NamedTuple):
    """P(the best match is right | its score s) = 1 / (1 + exp(-(slope * s + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores [N] -> probabilities [N]."""
        return 1 / (1 + np.exp(-(self.slope * scores + self.intercept)))


def fit(scores: np.ndarray, right: np.ndarray) -> Calibration:
    """The most likely calibration of scores [N] that were right or not (bool [N]). Raises ValueError where
    all or none were."""
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=np.inf).fit(scores[:, None].astype(np.float64), right)
    return Calibration(float(found.coef_[0, 0]), float(found.intercept_[0]))


def expected_error(probabilities: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error, 0 to 1: |mean probability - share that was right| over bins of equally
    many, by their share."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(abs(probabilities[p].mean() - right[p].mean()) * len(p) for p in parts) / len(order))


def calibrate(trial: Trial, seed: int = 0) -> tuple[Calibration, float]:
    """A calibration from half of the people, known and unknown ones, and its expected error on the other
    half.

    Raises ValueError where a half has no right or no wrong match: there are too few people then.
    """
    halves = [
        np.random.default_rng(seed).permutation(np.unique(trial.pids[chosen]))
        for chosen in (trial.unknown, trial.known)
    ]
    learned = np.isin(trial.pids, np.concatenate([people[::2] for people in halves]))
    asked = trial.unknown | trial.known
    first, second = asked & learned, asked & ~learned
    if any(len(np.unique(trial.right[half])) < 2 for half in (first, second)):
        raise ValueError("a calibration needs right and wrong best matches in either half of the people")
    found = fit(trial.best[first], trial.right[first])
    return found, expected_error(found(trial.best[second]), trial.right[second])
