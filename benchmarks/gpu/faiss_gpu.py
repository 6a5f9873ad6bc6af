"""Galleries on the GPU, only where the installed FAISS has it: the index must answer as the CPU's does."""

from __future__ import annotations

import time

import faiss
import numpy as np

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import Plan
from reid.bundle import Bundle
from reid.engines import Fallbacks
from server.gallery.faiss_index import FaissIndex
from server.gallery.gpu import Gpu
from server.gallery.gpu_index import GpuIndex
from server.gallery.gpu_probe import reason_against_gpu
from server.gallery.index import GalleryIndex, SearchFilter

_ROWS, _CHUNK, _QUERIES, _ROUNDS, _K = 500_000, 10_000, 64, 20, 50


def check_faiss(plan: Plan, findings: Findings) -> None:
    """A process of its own: FAISS ends it where the driver cannot be used."""
    if not hasattr(faiss, "StandardGpuResources"):
        findings.say(f"faiss {faiss.__version__} has no GPU part")
        return
    reason = reason_against_gpu()
    findings.require(reason is None, f"FAISS does not search on the GPU: {reason}")
    if reason is None:
        compare(Bundle.load(plan.bundle).manifest.dim, _ROWS, Gpu(), findings)


def compare(dim: int, rows: int, gpu: Gpu, findings: Findings) -> None:
    """Fills both indexes, searches them under filters and removals, and says how long each took."""
    rng, fallbacks = np.random.default_rng(0), Fallbacks()
    on_gpu, on_cpu = GpuIndex(dim, gpu, fallbacks), FaissIndex(dim)
    began = time.perf_counter()
    for start in range(0, rows, _CHUNK):
        vectors = _unit(rng, _CHUNK, dim)
        cameras = [f"c{seq % 4}" for seq in range(_CHUNK)]
        for index in (on_gpu, on_cpu):
            index.add(range(start, start + _CHUNK), cameras, vectors)
    findings.say(f"faiss {faiss.__version__}: {rows} rows of {dim} in both after {_since(began):.1f} s")
    different = 0
    for turn in range(_ROUNDS):
        gone = rng.choice(rows, 3, replace=False)
        for index in (on_gpu, on_cpu):
            index.remove(gone)
        where = SearchFilter(
            exclude_camera="c1" if turn % 2 else None,
            allowed=np.flatnonzero(rng.random(rows) < 0.3) if turn % 3 else None,
        )
        query = _unit(rng, 1, dim)[0]
        seqs, expected = (index.search(query, _K, where)[1] for index in (on_gpu, on_cpu))
        different += int((seqs != expected).sum())
        findings.require(not np.isin(seqs, gone).any(), "a removed row was returned")
    findings.require(different <= _ROUNDS, f"{different} of {_K * _ROUNDS} ranks differ from the CPU's")
    for name, index in (("GPU", on_gpu), ("CPU", on_cpu)):
        findings.say(f"{name}: {1e3 * _seconds_a_query(index, dim):.2f} ms for a query of {rows} rows")
    for each in fallbacks.all():
        findings.require(False, f"{each.what}, {each.times} times: {each.reason}")


def _seconds_a_query(index: GalleryIndex, dim: int) -> float:
    queries = _unit(np.random.default_rng(1), _QUERIES + 1, dim)
    index.search(queries[0], 10)
    began = time.perf_counter()
    for query in queries[1:]:
        index.search(query, 10)
    return _since(began) / _QUERIES


def _unit(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    vectors = rng.standard_normal((count, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _since(began: float) -> float:
    return time.perf_counter() - began
