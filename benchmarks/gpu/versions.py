"""Versions of what the GPU side is made of."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from benchmarks.gpu import device
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import Plan
from reid.engines.chooser import gpu_present

_PACKAGES = (
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt-cu13",
    "faiss-cpu",
    "faiss-gpu-cuvs",
    "nvidia-cuda-runtime",
    "nvidia-cublas",
    "nvidia-cudnn-cu13",
)


def check_versions(plan: Plan, findings: Findings) -> None:
    """Prints them, and what torch and onnxruntime say of the GPU."""
    findings.say(
        f"{device.name()}; Python {platform.python_version()}, {os.cpu_count()} cores, {sys.platform}"
    )
    on_cpu = plan.device == "cpu"
    findings.require(on_cpu or gpu_present(), "the engines' chooser sees no GPU where the driver sees one")
    installed = []
    for name in _PACKAGES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            installed.append(f"no {name}")
    findings.say(", ".join(installed))
    torch = importlib.import_module("torch")
    findings.say(
        f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    )
    findings.require(on_cpu or torch.cuda.is_available(), "torch finds no CUDA device")
    runtime = importlib.import_module("onnxruntime")
    findings.say(f"onnxruntime {runtime.__version__} has {', '.join(runtime.get_available_providers())}")
