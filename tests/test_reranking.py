"""k-reciprocal re-ranking against the dense algorithm, written down step by step, and oracle 19 of methods
A.10."""

from __future__ import annotations

import numpy as np
import pytest

from reid.reranking import expand_queries, rerank


def clusters(rng: np.random.Generator, count: int, dim: int = 8, spread: float = 0.5) -> np.ndarray:
    """Unit vectors around a few centres."""
    x = rng.normal(size=(5, dim))[rng.integers(0, 5, count)] + spread * rng.normal(size=(count, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def naive(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """Dense, one item at a time."""
    x = np.concatenate([query, gallery]).astype(np.float64)
    squared = np.maximum(2 - 2 * x @ x.T, 0)
    np.fill_diagonal(squared, -1)
    original = np.maximum(squared, 0) / squared.max(1, keepdims=True)
    rank = np.argsort(squared, axis=1, kind="stable")

    def reciprocal(i: int, k: int) -> list[int]:
        return [j for j in rank[i, : k + 1] if i in rank[j, : k + 1]]

    v = np.zeros_like(original)
    for i in range(len(x)):
        own = reciprocal(i, k1)
        expanded = list(own)
        for j in own:
            candidate = reciprocal(j, int(np.around(k1 / 2)))
            if len(set(candidate) & set(own)) > 2 / 3 * len(candidate):
                expanded += candidate
        members = sorted(set(expanded))
        v[i, members] = np.exp(-original[i, members])
        v[i] /= v[i].sum()
    if k2 > 1:
        v = np.stack([v[rank[i, :k2]].mean(0) for i in range(len(x))])
    q = len(query)
    jaccard = np.empty((q, len(gallery)))
    for i, j in np.ndindex(*jaccard.shape):
        overlap = np.minimum(v[i], v[q + j]).sum()
        jaccard[i, j] = 1 - overlap / (2 - overlap)
    return (1 - weight) * jaccard + weight * original[:q, q:]


@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (5, 1), (7, 3), (20, 20)])
def test_agrees_with_the_dense_algorithm(k1: int, k2: int, rng: np.random.Generator) -> None:
    query, gallery = clusters(rng, 12), clusters(rng, 90)
    assert np.abs(rerank(query, gallery, k1, k2) - naive(query, gallery, k1, k2, 0.3)).max() < 1e-5


def test_all_of_the_original_distance_keeps_every_ranking(rng: np.random.Generator) -> None:
    query, gallery = clusters(rng, 12), clusters(rng, 90)
    found = rerank(query, gallery, weight=1.0)
    assert np.array_equal(
        np.argsort(found, axis=1, kind="stable"), np.argsort(-(query @ gallery.T), axis=1, kind="stable")
    )


def test_two_far_clusters_share_nobody(rng: np.random.Generator) -> None:
    centres = np.eye(2, 6, dtype=np.float32)
    x = np.repeat(centres, 20, axis=0) + 0.01 * rng.normal(size=(40, 6)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = rerank(x[[0, 20]], np.delete(x, [0, 20], axis=0), k1=8, k2=3, weight=0.0)
    assert found[0, 19:].min() == found[1, :19].min() == 1.0
    assert found[0, :19].mean() < 0.9 and found[1, 19:].mean() < 0.9


@pytest.mark.parametrize(("k1", "k2"), [(200, 6), (5, 6), (5, 0)])
def test_impossible_neighbourhoods_are_refused(k1: int, k2: int, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="k1"):
        rerank(clusters(rng, 3), clusters(rng, 9), k1, k2)


def test_query_expansion_by_loops(rng: np.random.Generator) -> None:
    query, gallery = clusters(rng, 4), clusters(rng, 30)
    found = expand_queries(query, gallery, k=3)
    for row, q in zip(found, query, strict=True):
        scores = gallery @ q
        mixed = q + sum(max(scores[g], 0) ** 3 * gallery[g] for g in np.argsort(-scores)[:3])
        assert np.allclose(row, mixed / np.linalg.norm(mixed), atol=1e-5)
    with pytest.raises(ValueError, match="31"):
        expand_queries(query, gallery, k=31)
