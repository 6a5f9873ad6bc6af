"""The index on a GPU, against the CPU's and a stand-in for FAISS's GPU part. It has not run on a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from reid.engines import Fallbacks
from server.gallery.faiss_index import FaissIndex
from server.gallery.gpu import Gpu, GpuRows
from server.gallery.gpu_index import BY_CPU, NOT_COPIED, GpuIndex, _Copy
from server.gallery.index import SearchFilter
from tests.faiss_gpu import FaissGpu
from tests.test_gallery_index import unit

DIM = 16


class Pair:
    """An index on the stand-in, and the CPU's, which must always answer alike."""

    def __init__(self, module: FaissGpu | None = None) -> None:
        self.module, self.fallbacks = module or FaissGpu(), Fallbacks()
        self.gpu = GpuIndex(DIM, Gpu(self.module), self.fallbacks, segment=40, delta=10, group=3)
        self.cpu = FaissIndex(DIM, segment=40, delta=10)
        self.rng = np.random.default_rng(0)

    def add(self, first: int, vectors: np.ndarray) -> None:
        seqs = range(first, first + len(vectors))
        cameras = [None if seq % 3 == 0 else "ab"[seq % 2] for seq in seqs]
        for index in (self.gpu, self.cpu):
            index.add(seqs, cameras, vectors)

    def remove(self, seqs: np.ndarray) -> None:
        for index in (self.gpu, self.cpu):
            index.remove(seqs)

    def compare(self, query: np.ndarray, k: int, where: SearchFilter | None = None) -> None:
        scores, seqs = self.gpu.search(query, k, where)
        expected, truth = self.cpu.search(query, k, where)
        assert seqs.tolist() == truth.tolist()
        assert scores == pytest.approx(expected, abs=2e-6)

    def on_gpu(self) -> int:
        """Rows that are on it."""
        return sum(len(copy.seqs) for copy in self.copies())

    def copies(self) -> list[_Copy]:
        return [part for part in self.gpu.copies if isinstance(part, _Copy)]

    def reasons(self) -> dict[str, str]:
        return {each.what: each.reason for each in self.fallbacks.all()}


@pytest.mark.parametrize("seed", range(3))
def test_it_answers_as_the_cpu_does_under_changes_and_filters(seed: int) -> None:
    pair, rng, following = Pair(), np.random.default_rng(seed), 0
    for _ in range(60):
        if rng.random() < 0.6:
            vectors = unit(rng, int(rng.integers(1, 90)), DIM)
            pair.add(following, vectors)
            following += len(vectors)
        elif len(pair.cpu):
            share = rng.choice([0.02, 0.3, 1.0], p=[0.8, 0.15, 0.05])
            held = pair.cpu.seqs()
            pair.remove(held[rng.random(len(held)) < share])
        held = pair.cpu.seqs()
        where = SearchFilter(
            camera="a" if rng.random() < 0.2 else None,
            exclude_camera="b" if rng.random() < 0.2 else None,
            allowed=held[rng.random(len(held)) < rng.choice([0.05, 0.5])] if rng.random() < 0.4 else None,
        )
        pair.compare(unit(rng, 1, DIM)[0], int(rng.integers(1, 100)), where)
        assert pair.gpu.seqs().tolist() == held.tolist()
    assert pair.module.searches
    assert pair.on_gpu() > 0 or len(pair.cpu) < 50
    assert pair.reasons() == {}


def test_full_segments_are_joined_and_what_was_joined_is_freed() -> None:
    pair = Pair()
    pair.add(0, unit(pair.rng, 400, DIM))
    assert [len(part.seqs) for part in pair.gpu.copies] == [120, 120, 120, 40]
    assert pair.module.alive == 4
    pair.add(400, unit(pair.rng, 80, DIM))
    assert [len(part.seqs) for part in pair.gpu.copies] == [120] * 4
    assert pair.module.alive == 4


def test_a_removed_row_is_missed_at_once_and_freed_before_the_removal_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = Pair()
    vectors = unit(pair.rng, 240, DIM)
    pair.add(0, vectors)
    put, seen = pair.gpu.gpu.put, []

    def search_meanwhile(blocks: Iterable[np.ndarray], dim: int) -> GpuRows:
        seen.append(7 in pair.gpu.search(vectors[7], 3)[1])
        return put(blocks, dim)

    monkeypatch.setattr(pair.gpu.gpu, "put", search_meanwhile)
    pair.remove(np.array([7]))
    assert seen == [False]
    assert pair.module.alive == 2
    for copy in pair.copies():
        assert not (copy.on_gpu.flat[0].rows == vectors[7]).all(1).any()
    assert pair.module.freed_elsewhere == 0
    pair.compare(vectors[7], 5)


def test_the_query_that_half_precision_rounds_ranks_as_in_float32() -> None:
    pair = Pair()
    base = 0.9 * unit(pair.rng, 1, DIM)[0]  # no score reaches 1, where they become equal
    close = base + 3e-4 * pair.rng.standard_normal((240, DIM)).astype(np.float32)
    pair.add(0, close)
    for _ in range(20):
        query = base + 3e-4 * pair.rng.standard_normal(DIM).astype(np.float32)
        pair.compare(query / np.linalg.norm(query), 5)


def test_rows_too_alike_for_half_precision_are_left_to_the_cpu_and_it_is_said() -> None:
    pair = Pair()
    pair.gpu.group = 40
    pair.add(0, np.repeat(unit(pair.rng, 1, DIM), 1600, axis=0))
    assert [len(part.seqs) for part in pair.gpu.copies] == [1600]
    pair.compare(unit(pair.rng, 1, DIM)[0], 5)
    assert "as similar as the last" in pair.reasons()[BY_CPU]


def test_a_search_for_more_than_the_gpu_returns_is_answered_by_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.gallery.gpu_index.MOST", 50)
    pair = Pair()
    pair.add(0, unit(pair.rng, 120, DIM))
    pair.compare(unit(pair.rng, 1, DIM)[0], 50)
    pair.compare(unit(pair.rng, 1, DIM)[0], 51)
    assert "50 rows of a GPU at most; 51 are wanted" in pair.reasons()[BY_CPU]


def test_a_filter_that_faiss_drops_names_nobody() -> None:
    pair = Pair(FaissGpu(drops_filters=True))
    vectors = unit(pair.rng, 240, DIM)
    pair.add(0, vectors)
    pair.compare(vectors[7], 5, SearchFilter(allowed=np.array([3, 9, 200])))
    pair.compare(vectors[7], 5, SearchFilter(camera="a"))
    assert "the filter leaves out" in pair.reasons()[BY_CPU]


def test_a_row_of_minus_one_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    vectors = unit(pair.rng, 240, DIM)
    pair.add(0, vectors)
    search = pair.gpu.gpu.search

    def one_lacks(*arguments: Any) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = search(*arguments)
        rows[-1] = -1
        return scores, rows

    monkeypatch.setattr(pair.gpu.gpu, "search", one_lacks)
    pair.compare(vectors[7], 5)
    assert "do not exist" in pair.reasons()[BY_CPU]


def test_a_full_gpu_leaves_rows_to_the_cpu_and_it_is_said() -> None:
    pair = Pair(FaissGpu(room=30))
    pair.add(0, unit(pair.rng, 240, DIM))
    assert pair.on_gpu() == 0
    pair.compare(unit(pair.rng, 1, DIM)[0], 20)
    assert "out of memory" in pair.reasons()[NOT_COPIED]
    pair.module.room = 1000
    pair.add(240, unit(pair.rng, 120, DIM))
    assert pair.on_gpu() == 360  # what it did not take before is offered again
    pair.remove(np.arange(50, 300))
    pair.compare(unit(pair.rng, 1, DIM)[0], 20)
