"""What an offset for each pair of cameras is worth in a calibration; printed by `benchmarks.labels`."""

from __future__ import annotations

import numpy as np

from benchmarks.tracked_crops import CHOICES, Crops
from reid.calibration import Calibration, fit, log_likelihood_ratio_cost


def camera_pairs(crops: Crops) -> None:
    """Prints what an offset for each pair of cameras is worth."""
    people = np.unique(crops.pids)
    print("\n| labelled | pairs of cameras | Cllr | with offsets | lower in | own camera too, with offsets |")
    print("| --- | --- | --- | --- | --- | --- |")
    for labelled in (32, 64, 128, 256):
        if 2 * labelled > len(people):
            continue
        plain: list[float] = []
        offset: list[float] = []
        own: list[float] = []
        for seed in range(CHOICES):
            order = np.random.default_rng((seed, labelled)).permutation(people)
            halves = order[:labelled], order[labelled : 2 * labelled]
            for any_camera, costs in ((False, offset), (True, own)):
                scores, right, pairs = _across(crops, halves[0], any_camera)
                test_scores, test_right, test_pairs = _across(crops, halves[1], any_camera)
                found, offsets = _fit_pairs(scores, right, pairs)
                logits = found.slope * test_scores + found.intercept
                logits += np.array([offsets.get(pair, 0.0) for pair in test_pairs.tolist()])
                prior = float(test_right.mean())
                costs.append(log_likelihood_ratio_cost(1 / (1 + np.exp(-logits)), test_right, prior))
                if not any_camera:
                    site = fit(scores, right)(test_scores)
                    plain.append(log_likelihood_ratio_cost(site, test_right, prior))
        lower = sum(a < b for a, b in zip(offset, plain, strict=True))
        means = f"{np.mean(plain):.3f} | {np.mean(offset):.3f} | {lower} of {CHOICES}"
        print(f"| {labelled} | {len(offsets)} | {means} | {np.mean(own):.3f} |", flush=True)


def _across(crops: Crops, people: np.ndarray, any_camera: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each crop of some people, half of whom are enrolled, the best match at another camera: its score,
    whether it is right, and a number for the two cameras.

    Args:
        any_camera: wrong matches of the query's own camera count too.
    """
    rows = np.flatnonzero(np.isin(crops.pids, people))[:6000]
    gallery = rows[np.isin(crops.pids[rows], people[::2])]
    scores = crops.vectors[rows] @ crops.vectors[gallery].T
    barred = crops.cameras[rows][:, None] == crops.cameras[gallery]
    if any_camera:
        barred &= crops.pids[rows][:, None] == crops.pids[gallery]
    scores[barred] = -np.inf
    first = scores.argmax(1)
    best = scores[np.arange(len(rows)), first]
    right = crops.pids[gallery][first] == crops.pids[rows]
    here, there = crops.cameras[rows], crops.cameras[gallery][first]
    number = np.minimum(here, there) * 100_000 + np.maximum(here, there)
    finite = np.isfinite(best)
    return best[finite].astype(np.float64), right[finite], number[finite]


def _fit_pairs(
    scores: np.ndarray, right: np.ndarray, pairs: np.ndarray, spread: float = 0.5
) -> tuple[Calibration, dict[int, float]]:
    """As `fit`, with an offset for each pair, of this standard deviation before anything is seen: fewer
    matches of a pair leave it nearer to zero."""
    names, column = np.unique(pairs, return_inverse=True)
    count, hits = len(right), int(right.sum())
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (count - hits + 2))
    centre, scale = scores.mean(), scores.std()
    columns = np.zeros((count, 2 + len(names)))
    columns[:, 0], columns[:, 1] = (scores - centre) / scale, 1
    columns[np.arange(count), 2 + column] = 1
    held = np.r_[1e-9, 1e-9, np.full(len(names), 1 / spread**2)]
    weights = np.zeros(len(held))
    for _ in range(50):
        p = 1 / (1 + np.exp(-columns @ weights))
        slopes = columns.T @ (p - targets) + held * weights
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + np.diag(held)
        weights = weights - np.clip(np.linalg.solve(curvature, slopes), -2, 2)
    slope = weights[0] / scale
    offsets = dict(zip(names.tolist(), weights[2:].tolist(), strict=True))
    return Calibration(float(slope), float(weights[1] - slope * centre)), offsets
