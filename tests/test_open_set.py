"""Open-set rates against a loop over queries, and at their ends."""

from __future__ import annotations

import numpy as np
import pytest

from reid.open_set import open_set


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_agrees_with_a_loop(rng: np.random.Generator) -> None:
    centres = rng.normal(size=(30, 8))
    qp, gp = rng.integers(0, 30, 300), np.concatenate([rng.integers(0, 30, 400), np.full(50, -1)])
    qc, gc = rng.integers(0, 3, 300), rng.integers(0, 3, 450)
    query, gallery = unit(centres[qp] + rng.normal(size=(300, 8))), unit(centres[gp] + rng.normal(size=(450, 8)))
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
    found = open_set(query, gallery, qp, gp, qc, gc, rates=(0.05, 0.2, 1.0), seed=5)
    for rate, missed in found.items():
        allowed = int(rate * len(alarms))
        threshold = sorted(alarms, reverse=True)[allowed] if allowed < len(alarms) else -np.inf
        assert sum(a > threshold for a in alarms) <= rate * len(alarms)
        assert missed == pytest.approx(np.mean([not (right and score > threshold) for score, right in known]))
    assert found[0.05] >= found[0.2] >= found[1.0] > 0


def test_perfect_embeddings_miss_nobody() -> None:
    x, pids = np.eye(6, dtype=np.float32), np.arange(6)
    assert set(open_set(x, x, pids, pids, np.zeros(6), np.ones(6)).values()) == {0.0}


def test_one_identity_is_refused() -> None:
    with pytest.raises(ValueError, match="two identities"):
        open_set(np.eye(1, 3, dtype=np.float32), np.eye(1, 3, dtype=np.float32), np.zeros(1), np.zeros(1), np.zeros(1), np.ones(1))
