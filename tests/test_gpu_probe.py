"""A GPU is tried by a process of its own before it is trusted with searches, and a refusal says why."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from reid.engines import Fallbacks
from server.errors import StartError
from server.gallery import indexes
from server.gallery.gpu_index import GpuIndex
from server.gallery.gpu_probe import reason_against_gpu, tried
from server.gallery.indexes import choose_indexes
from tests.faiss_gpu import FaissGpu, Flat, Parameters

REFUSED = "galleries searched by the CPU instead of the GPU"


def test_faiss_that_obeys_filters_is_taken() -> None:
    module = FaissGpu()
    assert tried(module) == ""
    assert max(module.searches) == 16_384


def test_faiss_that_drops_filters_is_refused() -> None:
    assert tried(FaissGpu(drops_filters=True)) == "FAISS named rows that the filter leaves out"


def test_faiss_that_finds_other_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Flat.search

    def reversed_order(flat: Flat, queries: np.ndarray, k: int, params: Parameters | None = None) -> object:
        return search(flat, -queries, k, params)

    monkeypatch.setattr(Flat, "search", reversed_order)
    assert tried(FaissGpu()) == "the GPU does not find the rows that are most similar"


def test_what_cannot_be_used_is_named() -> None:
    class None_(FaissGpu):
        def get_num_gpus(self) -> int:
            return 0

    assert "has no GPU part; install it with" in tried(ModuleType("faiss"))
    assert tried(None_()) == "FAISS sees no GPU"
    assert "out of memory" in tried(FaissGpu(room=10))


def test_a_driver_that_ends_the_process_ends_the_probe_alone() -> None:
    def program(code: str) -> tuple[str, ...]:
        return sys.executable, "-c", code

    aborted = reason_against_gpu(program("import os, sys; print('CUDA error', file=sys.stderr); os.abort()"))
    assert aborted == "FAISS ended the process that tried it, with status -6: CUDA error"
    assert (
        reason_against_gpu(program("import time; time.sleep(9)"), 0.2) == "FAISS did not answer within 0.2 s"
    )
    assert reason_against_gpu(program("print('a library says hello')")) == "FAISS's trial printed no result"
    assert reason_against_gpu(program("print('hello\\nreason: ')")) is None
    assert reason_against_gpu(program("print('reason: no')")) == "no"


def test_here_the_probe_says_that_faiss_has_no_gpu_part() -> None:
    assert "has no GPU part" in str(reason_against_gpu())


def test_the_setting_chooses_and_a_refusal_is_noted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reasons: list[str | None] = ["no driver"]
    monkeypatch.setattr(indexes, "reason_against_gpu", lambda: reasons[0])
    monkeypatch.setattr(indexes, "gpu_present", lambda: True)
    noted = Fallbacks()
    assert choose_indexes("cpu", "auto", noted).device == "cpu"
    assert choose_indexes("auto", "cpu", noted).device == "cpu"
    assert noted.all() == []
    assert choose_indexes("auto", "auto", noted).device == "cpu"
    assert [(each.what, each.reason) for each in noted.all()] == [(REFUSED, "no driver")]
    assert "searched by the CPU: no driver" in caplog.text
    with pytest.raises(StartError, match=r"on a GPU: no driver; or set RESIGHT_SEARCH=cpu"):
        choose_indexes("gpu", "auto", noted)
    reasons[0] = None
    for wish in ("auto", "gpu"):
        chosen = choose_indexes(wish, "auto", noted)
        assert chosen.device == "gpu" and isinstance(chosen.new(8), GpuIndex)
    monkeypatch.setattr(indexes, "gpu_present", lambda: False)
    assert choose_indexes("auto", "auto", noted).device == "cpu"
