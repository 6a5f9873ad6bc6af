"""FAISS on the GPU, only where the installed FAISS has it: a flat index must answer as numpy does."""

from __future__ import annotations

import time

import faiss
import numpy as np

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import Plan
from reid.bundle import Bundle

_ROWS, _QUERIES, _K = 100_000, 64, 10


def check_faiss(plan: Plan, findings: Findings) -> None:
    """A process of its own: FAISS ends it where the driver cannot be used."""
    if not hasattr(faiss, "StandardGpuResources"):
        findings.say(f"faiss {faiss.__version__} has no GPU part")
        return
    dim = Bundle.load(plan.bundle).manifest.dim
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((_ROWS, dim), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = rows[:_QUERIES] + 0.01 * rng.standard_normal((_QUERIES, dim), np.float32)
    index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), dim)
    index.add(rows)
    index.search(queries, _K)
    began = time.perf_counter()
    _, found = index.search(queries, _K)
    seconds = time.perf_counter() - began
    expected = np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :_K]
    findings.say(f"faiss {faiss.__version__}: {_QUERIES} queries of {_ROWS} rows in {1e3 * seconds:.2f} ms")
    findings.require(
        bool((found == expected).mean() > 0.999), "the GPU's flat index does not answer as numpy does"
    )
