"""Probabilities that the best match is the right person, from its score (Platt 1999), and their error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reid.open_set import Trial
from reid.tracklets import Pairs

_ROUNDS = 100  # of Newton's method, at most
_SLOPE_OFF = 0.3  # standard deviation of a guess's slope, as a share of it
_FARTHEST_STEP = 2.0  # of Newton's method, where a step too far would not come back
_OTHER_SHARE = 2.0  # standard deviation of the log odds that a queue's best match is right, beside a trial's


class Calibration(NamedTuple):
    """P(the best match is right | its score s) = 1 / (1 + exp(-(slope * s + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores [N] -> probabilities [N]."""
        return 1 / (1 + np.exp(-(self.slope * scores + self.intercept)))


def fit(scores: np.ndarray, right: np.ndarray, asked: np.ndarray | None = None) -> Calibration:
    """The most likely calibration of scores [N] and whether each best match was right, bool [N].

    Right and wrong ones count as nearly certain, not as certain: with Platt's targets (his section 2.2) the
    curve stays finite where every right score lies above every wrong one. Found by Newton's method; the loss
    is convex.

    Args:
        asked: bool [N], best matches that come from elsewhere, as answers of a review queue do, where another
            share of queries shows somebody who is enrolled. They say how right ones become likelier with the
            score, and have an intercept of their own, which is not returned.

    Raises ValueError where all or none were right.
    """
    count, hits = len(right), int(np.sum(right))
    if not 0 < hits < count:
        raise ValueError("a calibration needs right and wrong best matches")
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (count - hits + 2))
    centre, scale = float(scores.mean()), max(float(scores.std()), 1e-9)
    elsewhere = np.zeros(count) if asked is None else asked
    columns = np.stack([(scores - centre) / scale, np.ones(count), elsewhere], axis=1, dtype=np.float64)
    held = np.array([0, 0, 1 / _OTHER_SHARE**2])

    def loss(weights: np.ndarray) -> float:
        z = columns @ weights
        return float((np.logaddexp(0, z) - targets * z).sum() + (held * weights**2).sum() / 2)

    weights = np.zeros(3)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-columns @ weights))
        slopes = columns.T @ (p - targets) + held * weights
        if np.abs(slopes).max() < 1e-9 * count:
            break
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + np.diag(held + 1e-9)
        step = np.linalg.solve(curvature, slopes)
        share = 1.0
        while loss(weights - share * step) > loss(weights) and share > 1e-6:
            share /= 2
        weights = weights - share * step
    slope = weights[0] / scale
    return Calibration(float(slope), float(weights[1] - slope * centre))


def moved_by(guess: Calibration, scores: np.ndarray, right: np.ndarray) -> Calibration:
    """A guess after some answers: the most likely calibration, where one whose log odds are one off, or whose
    slope is 30 % off, is taken beforehand for one standard deviation from the guess.

    Args:
        scores: [N]. right: bool [N], whether each best match was right.
    """
    centre = float(scores.mean()) if len(scores) else 0.0
    columns = np.stack([np.ones(len(scores)), scores - centre], axis=1)
    held = np.array([1.0, 1 / (_SLOPE_OFF * guess.slope) ** 2])
    known = guess.slope * scores + guess.intercept
    weights = np.zeros(2)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-(known + columns @ weights)))
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + np.diag(held)
        step = np.linalg.solve(curvature, columns.T @ (p - right) + held * weights)
        weights = weights - np.clip(step, -_FARTHEST_STEP, _FARTHEST_STEP)
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(
        float(guess.slope + weights[1]), float(guess.intercept + weights[0] - weights[1] * centre)
    )


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


class Weighed(NamedTuple):
    """What a score says of a pair, and how good that is on pairs that it was not fitted to.

    Args:
        ratio: its logit is the log likelihood ratio of one person against two, so P(one person) where half of
            all pairs are. cllr: as of `Fitted`.
    """

    ratio: Calibration
    cllr: float


def weigh(same: Sequence[Pairs], different: Sequence[Pairs], seed: int = 0) -> Weighed:
    """Fitted to all pairs of one person and of two, and judged by fitting to half of those who ask.

    Raises ValueError where a half has no pairs of either.
    """
    rng = np.random.default_rng(seed)
    sides = []
    for kinds in (same, different):
        scores = np.concatenate([pairs.scores for pairs in kinds])
        first = []
        for pairs in kinds:
            askers = rng.permutation(np.unique(pairs.askers))
            first.append(np.isin(pairs.askers, askers[::2]))
        sides.append((scores, np.concatenate(first)))
    (one, one_first), (two, two_first) = sides
    if any(len(np.unique(first)) < 2 for _, first in sides):
        raise ValueError("pairs of one person and of two are needed in both halves of those who ask")
    scores = np.concatenate([one[~one_first], two[~two_first]])
    right = np.arange(len(scores)) < (~one_first).sum()
    judged = _ratio(one[one_first], two[two_first])
    return Weighed(_ratio(one, two), log_likelihood_ratio_cost(judged(scores), right, 0.5))


def _ratio(same: np.ndarray, different: np.ndarray) -> Calibration:
    found = fit(np.concatenate([same, different]), np.arange(len(same) + len(different)) < len(same))
    return Calibration(found.slope, found.intercept - float(np.log(len(same) / len(different))))
