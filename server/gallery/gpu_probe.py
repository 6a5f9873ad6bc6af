"""Whether FAISS can search on this machine's GPU. A process of its own finds out: where the driver cannot be
used, FAISS ends the process that asks.

`python -m server.gallery.gpu_probe` prints one line, `reason:` with what speaks against it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import faiss
import numpy as np

from server.gallery.gpu import MOST, Gpu, GpuSearchError
from server.gallery.gpu_index import require_allowed

_ROWS, _DIM = 20_003, 32  # more rows than one search returns, and no whole words of a bitmap
_FETCHED = 10
_TIMEOUT_S = 120
_REASON = "reason:"
_PROGRAM = (sys.executable, "-m", "server.gallery.gpu_probe")


def reason_against_gpu(program: tuple[str, ...] = _PROGRAM, timeout_s: float = _TIMEOUT_S) -> str | None:
    """Why FAISS does not search on a GPU here, in one line; None where it does."""
    try:
        ended = subprocess.run(program, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"FAISS did not answer within {timeout_s:g} s"
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return f"FAISS ended the process that tried it, with status {ended.returncode}: {last}"
    lines = [line for line in ended.stdout.splitlines() if line.startswith(_REASON)]
    return lines[-1].removeprefix(_REASON).strip() or None if lines else "FAISS's trial printed no result"


def tried(module: ModuleType = faiss) -> str:
    """The reason against FAISS's GPU part, from having used it; empty if there is none."""
    if not hasattr(module, "StandardGpuResources"):
        return f"faiss {faiss.__version__} has no GPU part; install it with: pip install -e '.[gpu]'"
    if module.get_num_gpus() < 1:
        return "FAISS sees no GPU"
    try:
        _check_searches(Gpu(module))
    except GpuSearchError as error:
        return str(error)
    return ""


def _check_searches(gpu: Gpu) -> None:
    """Raises GpuSearchError unless filters are obeyed and the best rows come first."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((_ROWS, _DIM), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows.astype(np.float16).astype(np.float32)
    copied = gpu.put([rows[:5_000], rows[5_000:]], _DIM)
    vector = rows[4_711]
    truth = rows @ vector
    for allowed in _filters(truth, rng):
        count = _ROWS if allowed is None else int(allowed.sum())
        for k in sorted({min(_FETCHED, count), min(MOST, count)}):
            _, named = gpu.search(copied, vector, k, allowed)
            require_allowed(named, _ROWS, allowed)
            expected = np.sort(truth if allowed is None else truth[allowed])[-k:]
            if np.abs(np.sort(truth[named]) - expected).max() > 2e-3:  # of halves
                raise GpuSearchError("the GPU does not find the rows that are most similar")


def _filters(truth: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray | None]:
    """bool [N] each: all rows, half of them, those that are not among the best, and three."""
    yield None
    yield rng.random(len(truth)) < 0.5
    yield truth < np.partition(truth, -100)[-100]
    few = np.zeros(len(truth), bool)
    few[[3, 9_000, len(truth) - 1]] = True
    yield few


if __name__ == "__main__":
    print(_REASON, tried())
