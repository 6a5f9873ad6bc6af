"""Probabilities that the best match is the right person, from its score (Platt 1999), and their error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reid.open_set import Trial

_ROUNDS = 100  # of Newton's method, at most


class Calibration(NamedTuple):
    """P(the best match is right | its score s) = 1 / (1 + exp(-(slope * s + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores [N] -> probabilities [N]."""
        return 1 / (1 + np.exp(-(self.slope * scores + self.intercept)))


def fit(scores: np.ndarray, right: np.ndarray) -> Calibration:
    """The most likely calibration of scores [N] and whether each best match was right, bool [N].

    Right and wrong ones count as nearly certain, not as certain: with Platt's targets (his section 2.2) the
    curve stays finite where every right score lies above every wrong one. Found by Newton's method; the loss
    is convex.

    Raises ValueError where all or none were right.
    """
    count, hits = len(right), int(np.sum(right))
    if not 0 < hits < count:
        raise ValueError("a calibration needs right and wrong best matches")
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (count - hits + 2))
    centre, scale = float(scores.mean()), max(float(scores.std()), 1e-9)
    columns = np.stack([(scores - centre) / scale, np.ones(count)], axis=1, dtype=np.float64)

    def loss(weights: np.ndarray) -> float:
        z = columns @ weights
        return float((np.logaddexp(0, z) - targets * z).sum())

    weights = np.zeros(2)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-columns @ weights))
        slopes = columns.T @ (p - targets)
        if np.abs(slopes).max() < 1e-9 * count:
            break
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, slopes)
        share = 1.0
        while loss(weights - share * step) > loss(weights) and share > 1e-6:
            share /= 2
        weights = weights - share * step
    slope = weights[0] / scale
    return Calibration(float(slope), float(weights[1] - slope * centre))


def expected_error(probabilities: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error, 0 to 1, over bins of equally many queries.

    The mean over bins of |mean probability - share of right matches|, weighted by the bins' sizes.
    """
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(abs(probabilities[p].mean() - right[p].mean()) * len(p) for p in parts) / len(order))


class Fitted(NamedTuple):
    """A calibration, and how good it is on people that it was not fitted to."""

    calibration: Calibration
    error: float  # expected calibration error, 0 to 1
    cllr: float  # of `log_likelihood_ratio_cost`


def log_likelihood_ratio_cost(probabilities: np.ndarray, right: np.ndarray, prior: float) -> float:
    """Cllr (Brümmer and du Preez 2006), in bits: 0 where every probability is certain and true, 1 where none
    says more than the prior does, more where they mislead.

    Args:
        probabilities: [N]. right: bool [N], some and not all. prior: the share of right ones, 0 to 1, that
            the probabilities suppose.
    """
    odds = np.clip(probabilities, 1e-12, 1 - 1e-12)
    evidence = np.log(odds / (1 - odds)) - np.log(prior / (1 - prior))  # log likelihood ratio
    costs = np.logaddexp(0, -evidence[right]).mean(), np.logaddexp(0, evidence[~right]).mean()
    return float(sum(costs) / (2 * np.log(2)))


def calibrate(trial: Trial, seed: int = 0) -> Fitted:
    """A calibration fitted on half of the people, and its errors on the other half.

    Each half has its share of enrolled and of unknown people. Raises ValueError where a half has no right or
    no wrong match: there are too few people then.
    """
    fitted_pids = []
    for group in (trial.unknown, trial.known):
        people = np.random.default_rng(seed).permutation(np.unique(trial.pids[group]))
        fitted_pids.append(people[::2])
    in_fit = np.isin(trial.pids, np.concatenate(fitted_pids))
    queries = trial.unknown | trial.known
    fit_half, test_half = queries & in_fit, queries & ~in_fit
    for half in (fit_half, test_half):
        if len(np.unique(trial.right[half])) < 2:
            raise ValueError(
                "a calibration needs right and wrong best matches in both halves of the people; evaluate on "
                "more people"
            )
    calibration = fit(trial.best[fit_half], trial.right[fit_half])
    probabilities, right = calibration(trial.best[test_half]), trial.right[test_half]
    prior = float(trial.right[fit_half].mean())
    error = expected_error(probabilities, right)
    return Fitted(calibration, error, log_likelihood_ratio_cost(probabilities, right, prior))
