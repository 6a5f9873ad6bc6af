"""The index of integers answers what brute force does, whatever the vectors, changes and filters are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.gallery import int8_index
from server.gallery.faiss_index import FaissIndex, Segment
from server.gallery.index import SearchFilter
from server.gallery.int8_index import Int8Index
from server.gallery.int8_rows import Int8Query, Int8Rows

DIM = 32
KINDS = ("spread", "people", "copies", "outliers", "alike")


def vectors_of(rng: np.random.Generator, count: int, kind: str) -> np.ndarray:
    """float32 unit [N,DIM] of halves: far from each other, around few centres, many of them equal, with
    values that leave few integers to all others, or so alike that integers cannot tell them apart."""
    v = rng.normal(size=(count, DIM))
    if kind == "people":
        v = rng.normal(size=(6, DIM))[rng.integers(0, 6, count)] + 0.3 * v
    if kind == "copies":
        v = v[rng.integers(0, max(1, count // 9), count)]
    if kind == "outliers":
        v[np.arange(count), rng.integers(0, DIM, count)] *= 60
    if kind == "alike":
        v = np.ones(DIM) + 1e-3 * v
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return v.astype(np.float16).astype(np.float32)


def brute_force(
    truth: dict[int, tuple[str | None, np.ndarray]], query: np.ndarray, where: SearchFilter
) -> dict:
    """Score by seq of what a filter lets through."""
    return {
        seq: float(np.clip(v.astype(np.float64) @ query, -1, 1))
        for seq, (camera, v) in truth.items()
        if (where.camera is None or camera == where.camera)
        and (where.exclude_camera is None or camera != where.exclude_camera)
        and (where.allowed is None or seq in where.allowed)
        and (where.left_out is None or seq not in where.left_out)
    }


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_integers_find_what_brute_force_finds(seed: int, kind: str, asked: str) -> None:
    rng = np.random.default_rng(seed)
    index, following = Int8Index(DIM, segment=120, delta=20), 0
    truth: dict[int, tuple[str | None, np.ndarray]] = {}
    for _ in range(12):
        n, change = int(rng.integers(1, 150)), rng.random()
        vectors = vectors_of(rng, n, kind)
        cameras = [str(c) if c != "-" else None for c in rng.choice(["a", "b", "-"], n)]
        if change < 0.6 or not truth:
            fresh = list(range(following, following + n))
            following += n
            index.add(fresh, cameras, vectors)
            truth |= {seq: (cameras[i], vectors[i]) for i, seq in enumerate(fresh)}
        elif change < 0.8:
            gone = rng.choice(list(truth), min(n, len(truth)), replace=False)
            index.remove(gone)
            for seq in gone.tolist():
                del truth[seq]
        else:
            old = sorted(rng.choice(list(truth), min(n, len(truth)), replace=False).tolist())
            index.put(old, cameras[: len(old)], vectors[: len(old)])
            truth |= {seq: (cameras[i], vectors[i]) for i, seq in enumerate(old)}
        some = np.array(sorted(rng.choice(list(truth), len(truth) // 2, replace=False)), np.int64)
        where = SearchFilter(
            camera="a" if rng.random() < 0.2 else None,
            exclude_camera="b" if rng.random() < 0.3 else None,
            allowed=some if rng.random() < 0.3 else None,
            left_out=some[::3] if rng.random() < 0.3 else None,
        )
        query, k = vectors_of(rng, 1, asked)[0], int(rng.choice([1, 3, 40, 1000]))
        expected = brute_force(truth, query, where)
        scores, seqs = index.search(query, k, where)
        assert set(seqs.tolist()) <= set(expected)
        assert len(set(seqs.tolist())) == len(seqs) == min(k, len(expected))
        assert scores == pytest.approx(sorted(expected.values(), reverse=True)[:k], abs=2e-6)
        assert [expected[seq] for seq in seqs.tolist()] == pytest.approx(scores, abs=2e-6)
        assert list(index.seqs()) == sorted(truth)


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_lies_between_its_bounds_and_they_are_reached(kind: str) -> None:
    rng = np.random.default_rng(0)
    off_most = 0.0
    for _ in range(20):
        rows, query = vectors_of(rng, 300, kind), vectors_of(rng, 1, kind)[0]
        near, order, off = Int8Rows.of(rows.astype(np.float16)).near(Int8Query.of(query), 300, None)
        assert sorted(order.tolist()) == list(range(300))
        wrong = np.abs(near - rows[order].astype(np.float64) @ query)
        assert wrong.max() <= off
        off_most = max(off_most, float(wrong.max() / off))
    assert off_most > 0.05  # a bound that is far too wide would have everything looked at


def test_only_rows_that_may_be_among_the_best_are_scored_from_their_halves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    index, vectors = Int8Index(DIM, segment=200, delta=10), vectors_of(rng, 2000, "spread")
    index.add(range(2000), [None] * 2000, vectors)
    scanned, taken = [], []
    search, take = Segment.search, Segment.take

    def noted_search(segment: Segment, *given: Any) -> tuple[np.ndarray, np.ndarray]:
        scanned.append(len(segment.seqs))
        return search(segment, *given)

    def noted_take(segment: Segment, rows: np.ndarray) -> np.ndarray:
        taken.append(len(rows))
        return take(segment, rows)

    monkeypatch.setattr(Segment, "search", noted_search)
    monkeypatch.setattr(Segment, "take", noted_take)
    query = vectors[77]
    assert index.search(query, 1)[1].tolist() == [77]
    assert (len(scanned), sum(taken)) == (0, 1)
    # so alike that integers cannot tell them apart: then the halves decide
    index.put(range(2000), [None] * 2000, vectors_of(rng, 2000, "alike"))
    monkeypatch.setattr(int8_index, "WIDER", 1)
    index.search(query, 1)
    assert len(scanned) > 0


def test_what_is_removed_is_in_no_integers_either() -> None:
    rng = np.random.default_rng(0)
    index, vectors = Int8Index(DIM, segment=50, delta=20), vectors_of(rng, 60, "spread")
    index.add(range(60), [None] * 60, vectors)

    def remembers(seq: int) -> bool:
        for each in index.generation.segments:
            assert each.int8 is not None
            values = each.int8.index.reconstruct_n(0, len(each.seqs)) * each.int8.scale
            if (values @ vectors[seq]).max() > 0.97:
                return True
        return False

    assert remembers(7)
    index.remove([7])
    assert not remembers(7)
    assert remembers(8)


def test_queries_and_ranks_are_those_of_the_index_of_halves() -> None:
    rng = np.random.default_rng(3)
    vectors = vectors_of(rng, 3000, "people")
    indexes = [Int8Index(DIM, 500, 100), FaissIndex(DIM, 500, 100)]
    for index in indexes:
        index.add(range(3000), ["a"] * 3000, vectors)
    for query in vectors[:30]:
        (scores, seqs), (expected, truth) = (index.search(query, 25) for index in indexes)
        assert scores == pytest.approx(expected, abs=1.01e-6)
        assert sorted(seqs[scores > expected[-1] + 2e-6].tolist()) == sorted(
            truth[expected > expected[-1] + 2e-6].tolist()
        )
