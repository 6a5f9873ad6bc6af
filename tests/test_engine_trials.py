"""An engine that crashes here, or computes something else, is ruled out before it serves anybody."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import server.engine_trials
from reid.bundle import PROBE, Bundle, BundleError, write_probe
from reid.engines import EngineError, choose_with_reasons
from reid.engines.agreement import PROBE_CROPS, probe_crops
from reid.engines.onnx_runtime import OnnxRuntimeEngine
from reid.engines.trial import Trial, check_probe, trial_of
from server.engine_trials import FILE, EngineTrials
from tests.tiny import HEIGHT, WIDTH, make_tiny_bundle, open_tiny


@pytest.fixture
def probed(tmp_path: Path) -> Bundle:
    """A bundle that records what its network makes of the probe."""
    bundle = make_tiny_bundle(tmp_path)
    return write_probe(bundle, OnnxRuntimeEngine(bundle).embed(probe_crops(HEIGHT, WIDTH, PROBE_CROPS)))


@pytest.fixture
def spoilt(probed: Bundle) -> Bundle:
    """A bundle whose probe no engine here agrees with."""
    recorded = probed.probe()
    assert recorded is not None
    return write_probe(probed, -recorded)


def ends(code: str) -> tuple[str, ...]:
    """A program that ignores its arguments and does this."""
    return (sys.executable, "-c", f"import os, signal, sys, time; {code}")


@pytest.mark.parametrize("name", ["SIGILL", "SIGFPE", "SIGSEGV", "SIGABRT"])
def test_an_engine_that_ends_its_process_is_ruled_out(probed: Bundle, name: str) -> None:
    outcome = trial_of(probed, "openvino", ends(f"os.kill(os.getpid(), signal.{name})"))
    assert outcome == Trial(f"it ended the process that tried it, by {name}")


def test_an_engine_that_fails_is_ruled_out_by_its_own_words_and_tried_again(probed: Bundle) -> None:
    outcome = trial_of(probed, "openvino", ends("sys.exit('ImportError: libtbb.so.12')"))
    assert outcome.refused == "its trial ended with status 1: ImportError: libtbb.so.12"
    assert not outcome.lasting


@pytest.mark.parametrize(
    "code", ["os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(60)"], ids=["killed", "too slow"]
)
def test_a_trial_without_a_result_says_nothing_against_an_engine(probed: Bundle, code: str) -> None:
    outcome = trial_of(probed, "openvino", ends(code), timeout_s=1)
    assert outcome.refused is None
    assert outcome.undecided is not None
    assert not outcome.lasting
    missing = trial_of(probed, "openvino", ("/nowhere/python",))
    assert (missing.refused, missing.lasting) == (None, False)


def test_the_next_engine_serves_where_one_is_ruled_out(probed: Bundle) -> None:
    crash = Trial(f"it ended the process that tried it, by {signal.SIGILL.name}")
    outcomes = {"openvino": crash, "onnxruntime": Trial(min_cosine=1.0)}
    choice = choose_with_reasons(probed, "cpu", trial=outcomes.__getitem__)
    assert choice.engine.describe().engine == "onnxruntime"
    assert choice.refused["openvino"] == f"openvino: {crash.refused}"
    with pytest.raises(EngineError, match="SIGILL"):
        choose_with_reasons(probed, "cpu", "openvino", trial=outcomes.__getitem__)


def test_an_engine_that_computes_something_else_never_serves(spoilt: Bundle, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cosine -1\.0+ "):
        check_probe(spoilt, OnnxRuntimeEngine(spoilt))
    with pytest.raises(EngineError, match=r"onnxruntime: cosine -1\.0+ "):
        choose_with_reasons(spoilt, "cpu")
    outcome = EngineTrials(spoilt, tmp_path)("onnxruntime")  # the real process
    assert outcome.refused is not None
    assert "cosine -1.000000" in outcome.refused


def test_a_bundle_without_a_probe_is_served_and_info_says_why_nothing_was_tried(tmp_path: Path) -> None:
    service = open_tiny(make_tiny_bundle(tmp_path), tmp_path / "data")
    try:
        (name, trial), *others = service.status.server().engine_trials.items()
    finally:
        service.close()
    assert (name, others) == ("onnxruntime", [])
    assert trial.refused is None
    assert trial.undecided is not None
    assert "records no embeddings" in trial.undecided
    assert not (tmp_path / "data" / FILE).exists()


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that were tried in a process of their own, which is not started here."""
    names = []

    def tried(bundle: Bundle, name: str) -> Trial:
        names.append(name)
        return Trial(undecided="busy", lasting=False) if name == "torch" else Trial(min_cosine=1.0)

    monkeypatch.setattr(server.engine_trials, "trial_of", tried)
    return names


def test_a_result_is_kept_for_this_cpu_these_packages_and_this_bundle(
    probed: Bundle, tmp_path: Path, tries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        trials = EngineTrials(probed, tmp_path)
        assert trials("openvino") == trials("onnxruntime") == Trial(min_cosine=1.0)
    assert tries == ["openvino", "onnxruntime"]
    monkeypatch.setattr(server.engine_trials, "cpu", lambda: "another CPU")
    EngineTrials(probed, tmp_path)("openvino")
    assert tries.count("openvino") == 2
    monkeypatch.setattr(server.engine_trials, "version", lambda name: "9.9")
    EngineTrials(probed, tmp_path)("openvino")
    assert tries.count("openvino") == 3
    recorded = probed.probe()
    assert recorded is not None
    EngineTrials(write_probe(probed, recorded[:4]), tmp_path)("openvino")
    assert tries.count("openvino") == 4


def test_a_trial_without_a_result_is_not_kept(probed: Bundle, tmp_path: Path, tries: list[str]) -> None:
    EngineTrials(probed, tmp_path)("torch")
    EngineTrials(probed, tmp_path)("torch")
    assert tries == ["torch", "torch"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"valid_for": 3}', "null", "\x00"])
def test_a_damaged_file_of_results_is_as_if_it_were_not_there(
    probed: Bundle, tmp_path: Path, tries: list[str], text: str
) -> None:
    (tmp_path / FILE).write_text(text)
    assert EngineTrials(probed, tmp_path)("openvino").min_cosine == 1.0
    assert json.loads((tmp_path / FILE).read_text())["trials"]["openvino"]["min_cosine"] == 1.0
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()  # where it can be neither read nor written
    assert EngineTrials(probed, tmp_path)("openvino").min_cosine == 1.0


def test_an_export_records_the_probe_and_every_engine_here_agrees_with_it(bundle: Bundle) -> None:
    recorded = bundle.probe()
    assert recorded is not None
    assert recorded.shape == (PROBE_CROPS, bundle.manifest.dim)
    for name in ("onnxruntime", "openvino", "torch"):
        engine = choose_with_reasons(bundle, "cpu", name).engine
        lowest = check_probe(bundle, engine)
        assert lowest is not None
        assert lowest > 0.999


@pytest.mark.parametrize("wrong", [np.ones((8, 3), np.float32), np.ones(24, np.float32)])
def test_a_probe_of_another_shape_is_refused_by_name(probed: Bundle, wrong: np.ndarray) -> None:
    with pytest.raises(BundleError, match=PROBE):
        write_probe(probed, wrong).probe()
