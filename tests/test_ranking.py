"""Ranking against closed forms and a slow, obvious twin."""

import numpy as np
import pytest

from reid.ranking import RankingScores, rank_embeddings, rank_hits, rank_scores


def naive(scores, qp, gp, qc, gc, trapezoid, ignore_camera) -> tuple[float, float, list[int]]:  # type: ignore[no-untyped-def]
    """One query at a time, sorting everything."""
    aps, inps, firsts = [], [], []
    for q in range(len(scores)):
        order = np.argsort(-scores[q], kind="stable")
        dropped = (gp[order] == -1) | ((gp[order] == qp[q]) & (gc[order] == qc[q]) & (not ignore_camera))
        hits = (gp[order] == qp[q])[~dropped]
        ranks = np.flatnonzero(hits) + 1
        if not len(ranks):
            continue
        precisions = []
        for j, r in enumerate(ranks, 1):
            before = 1.0 if r == 1 else (j - 1) / (r - 1)
            precisions.append((j / r + before) / 2 if trapezoid else j / r)
        aps.append(np.mean(precisions))
        inps.append(len(ranks) / ranks[-1])
        firsts.append(ranks[0])
    return float(np.mean(aps)), float(np.mean(inps)), firsts


@pytest.mark.parametrize("trapezoid", [False, True])
@pytest.mark.parametrize("ignore_camera", [False, True])
def test_agrees_with_the_naive_twin_on_ties_junk_and_distractors(
    trapezoid: bool, ignore_camera: bool
) -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        scores = rng.integers(0, 6, (9, 40)).astype(np.float32)  # few values, so many ties
        qp, qc = rng.integers(1, 5, 9), rng.integers(0, 3, 9)
        gp, gc = rng.integers(-1, 6, 40), rng.integers(0, 3, 40)
        mean_ap, mean_inp, firsts = naive(scores, qp, gp, qc, gc, trapezoid, ignore_camera)
        found = rank_scores(
            scores, qp, gp, qc, gc, "trapezoid" if trapezoid else "step", ignore_camera, depth=10
        )
        assert found.mean_ap == pytest.approx(mean_ap)
        assert found.mean_inp == pytest.approx(mean_inp)
        assert found.cmc == pytest.approx([np.mean(np.array(firsts) <= k) for k in range(1, 11)])
        assert found.queries == len(firsts)


@pytest.mark.parametrize(
    ("hits", "step", "trapezoid"),
    [
        ([0, 1], 0.5, 0.25),
        ([0, 0, 1], 1 / 3, 1 / 6),
        ([1, 0, 1], 0.8333, 0.7917),
        ([1, 1, 0, 1], 0.9167, 0.9028),
        ([0, 1, 0, 0, 1, 1], 0.4667, 0.3417),
    ],
)
def test_average_precision_by_hand(hits: list[int], step: float, trapezoid: float) -> None:
    scores = -np.arange(len(hits), dtype=np.float32)[None]
    cameras = np.zeros(len(hits), int)
    pids = np.where(hits, 7, 8)

    def scored(kind: str) -> RankingScores:
        return rank_scores(scores, np.array([7]), pids, np.array([1]), cameras, kind)  # type: ignore[arg-type]

    assert scored("step").mean_ap == pytest.approx(step, abs=1e-4)
    assert scored("trapezoid").mean_ap == pytest.approx(trapezoid, abs=1e-4)
    assert rank_hits([np.flatnonzero(hits) + 1]).mean_ap == pytest.approx(step, abs=1e-4)


def test_embeddings_and_scores_agree_over_several_blocks(rng: np.random.Generator) -> None:
    query, gallery = (
        rng.normal(size=(700, 8)).astype(np.float32),
        rng.normal(size=(300, 8)).astype(np.float32),
    )
    labels = (
        rng.integers(0, 9, 700),
        rng.integers(0, 9, 300),
        rng.integers(0, 4, 700),
        rng.integers(0, 4, 300),
    )
    assert rank_embeddings(query, gallery, *labels).mean_ap == pytest.approx(
        rank_scores(query @ gallery.T, *labels).mean_ap, abs=1e-6
    )


def test_no_positive_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="no query has a positive"):
        rank_scores(np.zeros((1, 2)), np.array([1]), np.array([2, 3]), np.array([0]), np.array([1, 1]))


def test_the_interval_holds_the_mean_and_narrows_with_queries(rng: np.random.Generator) -> None:
    widths = []
    for count in (50, 800):
        labels = (
            rng.integers(0, 9, count),
            rng.integers(0, 9, 300),
            rng.integers(0, 4, count),
            rng.integers(0, 4, 300),
        )
        found = rank_scores(rng.normal(size=(count, 300)).astype(np.float32), *labels)
        low, high = found.interval("mAP")
        assert low < found.mean_ap < high and found.interval("mAP") == (low, high)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
