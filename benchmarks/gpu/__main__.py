"""Checks a machine with an NVIDIA GPU, offline: `scripts/gpu_check.sh`, or `python -m benchmarks.gpu`.

Prints what it measures and ends in ACCEPTED (status 0), or in REJECTED with every reason (status 1).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gpu import device
from benchmarks.gpu.findings import verdict
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.section import names, reasons_file
from benchmarks.serving import DEMO, ROOT

ON_GPU = ("torch", "cuda", "tensorrt")
REHEARSED = ("torch", "onnxruntime")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="scripts/gpu_check.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--crops", type=int, default=900, help="that BNTA looks at, and that are enrolled")
    parser.add_argument("--seconds", type=float, default=0.5, help="that one rate is measured for")
    parser.add_argument("--limit-s", type=float, default=900, help="that one section may take")
    parser.add_argument("--only", nargs="+", help="sections to run, such as: adapt 'engine cuda'")
    parser.add_argument("--engines", nargs="+", help="instead of torch, cuda and tensorrt")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU; ends REJECTED all the same")
    arguments = parser.parse_args()
    if not arguments.rehearse and not device.found():
        return verdict(["no device"])
    engines = tuple(arguments.engines or (REHEARSED if arguments.rehearse else ON_GPU))
    with tempfile.TemporaryDirectory(prefix="resight-gpu-") as folder:
        plan = Plan(
            bundle=arguments.bundle.resolve(),
            folder=Path(folder),
            device="cpu" if arguments.rehearse else "cuda",
            engines=engines,
            crops=arguments.crops,
            seconds=arguments.seconds,
        )
        plan.write()
        print(f"bundle {plan.bundle.name}", flush=True)
        reasons = ["rehearsed on the CPU"] if arguments.rehearse else []
        for name in names(plan):
            if not arguments.only or name in arguments.only:
                reasons += _section(plan, name, arguments.limit_s)
    return verdict(reasons)


def _section(plan: Plan, name: str, limit_s: float) -> list[str]:
    """Runs a section in a process of its own and returns its reasons to reject."""
    print(f"{name}", flush=True)
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.gpu.section", str(plan.folder), name]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        status: int | str = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # a server of the section ends with it
        process.wait()
        status = f"none after {limit_s:g} s"
    print(f"  ({time.perf_counter() - began:.1f} s)", flush=True)
    path = reasons_file(plan, name)
    return json.loads(path.read_text()) if path.exists() else [f"{name}: ended with status {status}"]


if __name__ == "__main__":
    sys.exit(main())
