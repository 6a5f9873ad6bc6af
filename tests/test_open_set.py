"""Open-set rates against a loop over queries, and at their ends."""

from __future__ import annotations

import numpy as np
import pytest

from reid.calibration import calibrate, expected_error, fit, log_likelihood_ratio_cost
from reid.open_set import Trial, open_set_rates, open_set_trial
from training.evaluate import Embedded, open_set


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_agrees_with_a_loop(rng: np.random.Generator) -> None:
    centres = rng.normal(size=(30, 8))
    qp, gp = rng.integers(0, 30, 300), np.concatenate([rng.integers(0, 30, 400), np.full(50, -1)])
    qc, gc = rng.integers(0, 3, 300), rng.integers(0, 3, 450)
    query, gallery = (
        unit(centres[qp] + rng.normal(size=(300, 8))),
        unit(centres[gp] + rng.normal(size=(450, 8))),
    )
    strangers = set(np.random.default_rng(5).permutation(np.unique(qp))[: len(np.unique(qp)) // 2].tolist())
    alarms, known = [], []
    for q in range(300):
        matches = [
            (float(query[q] @ gallery[g]), gp[g] == qp[q])
            for g in range(450)
            if gp[g] != -1 and gp[g] not in strangers and not (gp[g] == qp[q] and gc[g] == qc[q])
        ]
        if qp[q] in strangers:
            alarms.append(max(matches)[0])
        elif any(right for _, right in matches):
            known.append(max(matches))
    found = open_set_rates(open_set_trial(query, gallery, qp, gp, qc, gc, seed=5), rates=(0.05, 0.2, 1.0))
    for rate, (given, missed) in found.items():
        allowed = int(rate * len(alarms))
        threshold = sorted(alarms, reverse=True)[allowed] if allowed < len(alarms) else -np.inf
        assert given == pytest.approx(threshold)
        assert sum(a > threshold for a in alarms) <= rate * len(alarms)
        assert missed == pytest.approx(np.mean([not (right and score > threshold) for score, right in known]))
    assert found[0.05].missed >= found[0.2].missed >= found[1.0].missed > 0


def test_perfect_embeddings_miss_nobody() -> None:
    x, pids = np.eye(6, dtype=np.float32), np.arange(6)
    assert {
        rate.missed
        for rate in open_set_rates(open_set_trial(x, x, pids, pids, np.zeros(6), np.ones(6))).values()
    } == {0.0}


def test_one_identity_is_refused() -> None:
    x, one = np.eye(1, 3, dtype=np.float32), np.zeros(1)
    with pytest.raises(ValueError, match="two identities"):
        open_set_trial(x, x, one, one, one, one + 1)


def test_a_calibration_finds_the_curve_that_made_the_answers(rng: np.random.Generator) -> None:
    scores = rng.uniform(0, 1, 20_000)
    right = rng.uniform(size=20_000) < 1 / (1 + np.exp(-(12 * scores - 7)))
    found = fit(scores, right)
    assert found.slope == pytest.approx(12, rel=0.05) and found.intercept == pytest.approx(-7, rel=0.05)
    assert expected_error(found(scores), right) < 0.02 < 0.2 < expected_error(scores * 0, right)


def test_expected_error_by_hand() -> None:
    probabilities, right = np.array([0.9, 0.1, 0.2, 0.8]), np.array([True, False, True, True])
    assert expected_error(probabilities, right, bins=2) == pytest.approx(
        (abs(0.15 - 0.5) + abs(0.85 - 1)) / 2
    )


def test_cllr_by_hand() -> None:
    right = np.array([True, True, False])
    # no evidence beyond the prior costs one bit
    assert log_likelihood_ratio_cost(np.full(3, 0.2), right, 0.2) == pytest.approx(1)
    found = log_likelihood_ratio_cost(np.array([0.9, 0.5, 0.2]), right, 0.5)
    costs = (np.log2(1 + 1 / 9) + np.log2(2)) / 2, np.log2(1.25)
    assert found == pytest.approx(sum(costs) / 2)
    assert log_likelihood_ratio_cost(np.array([1.0, 1.0, 0.0]), right, 0.5) < 1e-9
    assert log_likelihood_ratio_cost(np.array([0.1, 0.1, 0.9]), right, 0.5) > 3


def test_a_calibration_is_judged_by_people_it_has_not_seen(rng: np.random.Generator) -> None:
    pids = np.repeat(np.arange(400), 10)
    unknown = pids < 200
    best = np.where(unknown, rng.normal(0.4, 0.1, 4000), rng.normal(0.7, 0.1, 4000))
    trial = Trial(pids, best, ~unknown, unknown, ~unknown)
    found, error, cllr = calibrate(trial)
    assert error < 0.03 and cllr < 0.35 and found(np.array([0.55]))[0] == pytest.approx(0.5, abs=0.1)
    hidden = np.random.default_rng(0).permutation(np.arange(200))[
        ::2
    ]  # the unknown people that the calibration learns from
    moved = trial._replace(best=np.where(np.isin(pids, np.setdiff1d(np.arange(200), hidden)), 0.9, best))
    assert calibrate(moved)[0] == found and calibrate(moved)[1] > 0.2 and calibrate(moved)[2] > cllr


def test_too_few_people_to_calibrate_with_still_have_rates() -> None:
    x, pids = np.eye(2, dtype=np.float32), np.arange(2)
    few = Embedded(x, x, (pids, pids, np.zeros(2), np.ones(2)), ignore_camera=False)
    with pytest.raises(ValueError, match="both halves"):
        calibrate(open_set_trial(few.query, few.gallery, *few.labels))
    assert list(open_set(few)) == [
        f"{name} at FPIR {rate}%" for rate in (1, 10) for name in ("FNIR", "threshold")
    ]
