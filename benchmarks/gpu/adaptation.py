"""BNTA on the GPU, in the server's worker process, beside the same on the CPU."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.gpu import device
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import PROFILE, Plan
from reid.bundle import Bundle, cosine
from reid.engines.pytorch import TorchEngine
from reid.profile import Profile
from server.work import CROPS, WorkAnswer, WorkRequest
from server.worker_process import run_worker

PROBES = 64
SILENCE_S = 300.0
SPARE_MIB = 200  # of the GPU's memory that may still be in use after a process has ended


def adapt_in_worker(bundle: Path, crops: np.ndarray, on: str, folder: Path) -> WorkAnswer:
    """The profile that a worker makes of crops uint8 [N,H,W,3] on a device, in a folder that is made."""
    folder.mkdir()
    crops.tofile(folder / CROPS)
    request = WorkRequest(str(bundle.resolve()), "2", 0, on, crops.shape, PROBES)
    return run_worker(folder, request, lambda share, stage: None, lambda: None, SILENCE_S)


def check_adaptation(plan: Plan, findings: Findings) -> None:
    """Leaves the profile of the device in the plan's folder."""
    crops, before = plan.drawn(), device.used_mib()
    answers: dict[str, WorkAnswer] = {}
    for on in (plan.device, "cpu"):
        began = time.perf_counter()
        answers[on] = answer = adapt_in_worker(
            plan.bundle, crops, on, plan.folder / f"work-{len(answers)}-{on}"
        )
        report = answer.report
        findings.say(
            f"BNTA of {len(crops)} crops on {report['device']}: {report['seconds']['adapt']:.2f} s, with its "
            f"process {time.perf_counter() - began:.2f} s, {report['pairs']} pairs at "
            f"{report['mean_pair_distance']:.4f}"
        )
        findings.require(report["device"] == on, f"was computed on {report['device']} instead of {on}")
        (plan.folder / PROFILE).write_bytes(answers[plan.device].profile)
        if on != "cpu":
            after = device.used_mib()
            findings.say(f"memory of the GPU: {before} MiB before, {after} MiB after the process")
            findings.require(returned(before, after), f"{before} MiB before the job, {after} MiB after it")
    share = apart(plan.bundle, answers[plan.device], answers["cpu"], crops[:PROBES])
    findings.say(f"profiles of both devices lie {share:.4f} of the adaptation's own change apart")
    findings.require(
        share <= 0.5, f"the profile of {plan.device} is not the CPU's: {share:.3f} of the change apart"
    )


def apart(bundle: Path, one: WorkAnswer, other: WorkAnswer, crops: np.ndarray) -> float:
    """Mean distance (1 - cosine) of embeddings under two profiles, divided by that of either to the bundle's
    own; all of them from torch on the CPU."""
    opened = Bundle.load(bundle)
    base = TorchEngine(opened).embed(crops)
    first, second = (
        TorchEngine(opened, Profile.from_bytes(answer.profile)).embed(crops) for answer in (one, other)
    )
    drift = min(1 - cosine(first, base).mean(), 1 - cosine(second, base).mean())
    return float((1 - cosine(first, second).mean()) / max(drift, 1e-9))


def returned(before: int | None, after: int | None) -> bool:
    """Whether the GPU's memory is back; True where there is no GPU."""
    return before is None or after is None or after - before <= SPARE_MIB
