"""`scripts/gpu_check.sh` where there is no GPU: it says so, and its sections run on the CPU."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu import adaptation, device, engines, faiss_gpu
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.findings import Findings, verdict
from benchmarks.gpu.plan import PROFILE, Plan
from benchmarks.gpu.section import names
from reid.bundle import Bundle
from reid.engines import Engine, EngineError
from reid.engines.pytorch import TorchEngine
from reid.profile import Profile
from server.gallery.gpu import Gpu
from tests.faiss_gpu import FaissGpu

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, with an nvidia-smi that finds nothing."""
    environment = dict(os.environ) | {"PYTHON": sys.executable}
    command = [ROOT / "scripts/gpu_check.sh", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def plan(bundle: Bundle, tmp_path: Path) -> Plan:
    """A small check on the CPU, with a profile of its own."""
    plan = Plan(bundle.path, tmp_path, "cpu", ("torch",), crops=16, seconds=0.0)
    plan.write()
    profile = bundle.profile()
    moved = {name: values * np.float32(1.05) for name, values in profile.site.items()}
    (tmp_path / PROFILE).write_bytes(Profile(bundle.base_id, moved).to_bytes())
    return plan


def test_without_a_device_it_is_rejected_for_that() -> None:
    ended = run()
    assert ended.stdout == "REJECTED: no device\n"
    assert ended.returncode == 1


def test_a_rehearsal_goes_through_its_sections_and_is_never_accepted(bundle: Bundle) -> None:
    sections = ("versions", "adapt", "engine onnxruntime", "faiss", "serve")
    ended = run(
        "--rehearse", "--bundle", str(bundle.path), "--crops", "16", "--seconds", "0", "--only", *sections
    )
    assert ended.stdout.endswith("\nREJECTED: rehearsed on the CPU\n"), ended.stdout + ended.stderr
    for line in (
        "BNTA of 16 crops on cpu",
        "batch   7: lowest cosine to torch on the CPU 0.99999",
        "adapted: ",
        " 2 clients: ",
        "adapting 16 crops while serving: ",
        "second start, with an adapted site: ",
    ):
        assert line in ended.stdout
    assert ended.returncode == 1


def test_a_verdict_names_every_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict([]) == 0
    assert verdict(["adapt: one", "serve: two"]) == 1
    assert capsys.readouterr().out == "ACCEPTED\nREJECTED: adapt: one; serve: two\n"


def test_a_section_that_dies_or_fails_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], bundle: Bundle
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["gpu_check", "--bundle", str(bundle.path), "--crops", "2", "--only", "adapt"]
    )
    monkeypatch.setattr(device, "found", lambda: True)
    assert main() == 1
    assert "adapt: WorkerError: AdaptationError: BNTA needs at least 16 crops" in capfd.readouterr().out
    monkeypatch.setattr(sys, "executable", "false")
    assert main() == 1
    assert "REJECTED: adapt: ended with status 1" in capfd.readouterr().out


def test_an_engine_that_answers_wrongly_is_rejected(
    plan: Plan, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TorchEngine(bundle, plan.adapted())
    monkeypatch.setattr(engines, "choose_engine", lambda *arguments: other)
    findings = Findings("engine torch")
    engines.check_engine(plan, "torch", findings)
    assert any("to torch is below" in reason for reason in findings.reasons)


def test_a_gallery_on_the_gpu_is_compared_with_the_cpus(capsys: pytest.CaptureFixture[str]) -> None:
    for module, reasons in ((FaissGpu(), 0), (FaissGpu(drops_filters=True), 1)):
        findings = Findings("faiss")
        faiss_gpu.compare(16, 20_000, Gpu(module), findings)
        assert len(findings.reasons) == reasons, findings.reasons
    assert "searches that the CPU answered instead of the GPU" in findings.reasons[0]
    assert "ms for a query of 20000 rows" in capsys.readouterr().out


def test_an_engine_that_keeps_the_first_profile_is_rejected(
    plan: Plan, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TensorRT's cache did, whose names know no weights."""

    class Stuck(TorchEngine):
        def with_profile(self, profile: Profile) -> Engine:
            return self

    monkeypatch.setattr(engines, "choose_engine", lambda *arguments: Stuck(bundle))
    findings = Findings("engine torch")
    engines.check_engine(plan, "torch", findings)
    assert [reason for reason in findings.reasons if "of what the adaptation changes" in reason]


def test_an_engine_that_is_missing_is_a_reason_unless_it_is_optional(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> Engine:
        raise EngineError("not installed")

    monkeypatch.setattr(engines, "choose_engine", refuse)
    for name, reasons in (("tensorrt", []), ("cuda", ["engine cuda: not installed"])):
        findings = Findings(f"engine {name}")
        engines.check_engine(plan, name, findings)
        assert findings.reasons == reasons


def test_memory_that_stays_with_the_gpu_is_noticed() -> None:
    assert adaptation.returned(None, None)
    assert adaptation.returned(500, 690)
    assert not adaptation.returned(500, 701)


def test_what_the_driver_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\ncase "$1" in *memory.used) echo 612;; *) echo "NVIDIA H100, 580.1";; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert device.found()
    assert device.name() == "NVIDIA H100, 580.1"
    assert device.used_mib() == 612
    program.write_text("#!/bin/sh\necho 'no devices were found'; exit 6\n")
    assert not device.found()
    assert device.used_mib() is None


def test_the_sections_of_a_plan(plan: Plan) -> None:
    assert names(plan) == ["versions", "adapt", "engine torch", "serve", "faiss"]
    assert Plan.read(plan.folder) == plan
    assert dataclasses.replace(plan, device="cuda").clients[-1] == 32
