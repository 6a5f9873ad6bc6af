"""The index against brute force, under random adds, removals, filters and concurrent readers."""

import threading

import numpy as np
import pytest

from server.gallery.faiss_index import FaissIndex, best_of
from server.gallery.index import SearchFilter


def unit(rng: np.random.Generator, n: int, dim: int = 16) -> np.ndarray:
    """float32 [n,dim], rounded to half as the store rounds them."""
    v = rng.normal(size=(n, dim)).astype(np.float32)
    return (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def rows_of(vectors: list[np.ndarray]) -> np.ndarray:
    """float32 [n,16] of that many vectors, also of none."""
    return np.array(vectors, np.float32).reshape(len(vectors), 16)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_brute_force_under_random_changes_and_filters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    index, truth, following = FaissIndex(16, segment=50, delta=20), {}, 0
    for _ in range(150):
        if rng.random() < 0.55:
            n = int(rng.integers(1, 70))
            vectors, cameras = (
                unit(rng, n),
                [str(c) if c != "-" else None for c in rng.choice(["a", "b", "-"], n)],
            )
            index.add(range(following, following + n), cameras, vectors)
            truth |= {following + i: (cameras[i], vectors[i]) for i in range(n)}
            following += n
        elif truth:
            gone = rng.choice(list(truth), min(len(truth), int(rng.integers(1, 40))), replace=False)
            index.remove(gone)
            for seq in gone:
                truth.pop(int(seq), None)
        allowed = (
            np.array(sorted(rng.choice(list(truth), len(truth) // 2, replace=False)))
            if truth and rng.random() < 0.3
            else None
        )
        where = SearchFilter(
            str(rng.choice(["a", "z"])) if rng.random() < 0.3 else None,
            "b" if rng.random() < 0.3 else None,
            allowed,
        )
        query, k = unit(rng, 1)[0], int(rng.integers(1, 60))
        expected = sorted(
            (-float(v @ query), seq)
            for seq, (camera, v) in truth.items()
            if (where.camera is None or camera == where.camera)
            and (where.exclude_camera is None or camera != where.exclude_camera)
            and (allowed is None or seq in allowed)
        )[:k]
        scores, seqs = index.search(query, k, where)
        assert len(seqs) == len(set(seqs)) == len(expected)
        assert scores == pytest.approx([-score for score, _ in expected], abs=1e-5)
        assert set(seqs) <= set(truth)
        assert list(index.seqs()) == sorted(truth)
        assert len(index) == len(truth)
        asked = np.array(sorted({*rng.integers(0, following + 9, 30).tolist()}))
        kept, vectors = index.vectors(asked)
        held = [row for row, seq in enumerate(asked.tolist()) if seq in truth]
        assert np.flatnonzero(kept).tolist() == held
        assert np.array_equal(vectors, rows_of([truth[int(asked[row])][1] for row in held]))


def test_equal_scores_rank_in_order_of_enrolling() -> None:
    index = FaissIndex(8, segment=4, delta=3)
    vector = np.eye(8, dtype=np.float32)[:1]
    for seq in range(11):
        index.add([seq], [None], vector)
    assert list(index.search(vector[0], 5)[1]) == [0, 1, 2, 3, 4]


def test_scores_that_differ_in_their_last_bits_alone_are_equal() -> None:
    bit = np.float32(6e-8)
    scores = np.float32(0.7) + np.arange(12, dtype=np.float32) % 4 * bit
    assert len(set(scores.tolist())) > 2
    scores[7] = 0.9
    best, seqs = best_of(scores, np.arange(12), 4)
    assert seqs.tolist() == [7, 0, 1, 2]
    assert best.tolist() == [0.9, 0.7, 0.7, 0.7]  # exactly what is shown, so that a threshold of 0.9 keeps it
    many, seqs = best_of(np.repeat(scores, 3), np.arange(36), 5)  # more than four times as many as are kept
    assert seqs.tolist() == [21, 22, 23, 0, 1]
    assert many.tolist() == [0.9] * 3 + [0.7] * 2


def test_no_score_is_beyond_one_and_copies_of_a_picture_rank_in_order_of_enrolling() -> None:
    # in half precision a vector's length is 1 only to three digits: these two are a little longer
    longer = np.array([[0.7075, 0.7075] + 14 * [0.0], [0.708, 0.708] + 14 * [0.0]], np.float16)
    query = np.array([np.sqrt(0.5), np.sqrt(0.5)] + 14 * [0.0], np.float32)
    for delta in (1, 100):  # sealed, and not yet
        index = FaissIndex(16, segment=50, delta=delta)
        index.add([0, 1], ["a", "a"], longer.astype(np.float32))
        scores, seqs = index.search(query, 2)
        assert list(scores) == [1, 1]
        assert list(seqs) == [0, 1]


def test_a_removed_vector_is_gone_from_memory() -> None:
    from server.gallery.faiss_index import _halves

    rng = np.random.default_rng(0)
    index, vectors = FaissIndex(16, segment=50, delta=20), unit(rng, 60)
    index.add(range(60), [None] * 60, vectors)
    index.remove([7])
    for segment in index.generation.segments:
        assert not (_halves(segment.index, 16).astype(np.float32) == vectors[7]).all(axis=1).any()


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[1, 16\]"):
        FaissIndex(16).add([0], [None], np.zeros((1, 8)))


def test_searches_beside_changes_see_one_moment() -> None:
    """Items come and go in pairs; a search that returned one without the other would have seen half a
    change."""
    rng = np.random.default_rng(0)
    index, problems, stop = FaissIndex(16, segment=64, delta=16), [], threading.Event()
    query = unit(rng, 1)[0]

    def read() -> None:
        while not stop.is_set():
            _, seqs = index.search(query, 10_000)
            if any(int(s) ^ 1 not in set(seqs.tolist()) for s in seqs):
                problems.append(seqs)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(0, 600, 2):
        index.add([i, i + 1], [None, None], unit(rng, 2))
        if i > 100 and i % 6 == 0:
            index.remove([i - 100, i - 99])
    stop.set()
    for reader in readers:
        reader.join()
    assert not problems
