"""What a measurement ran on, for whoever reads it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_SETS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")
_PACKAGES = ("openvino", "onnxruntime", "torch", "faiss-cpu", "numpy")


def machine() -> str:
    """Cores, instruction sets that matter here, and versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "a CPU")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    sets = ", ".join(part for part in _SETS if part in flags) or platform.machine()
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return (
        f"{os.cpu_count()} cores of {name} ({sets}); "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def say_machine() -> None:
    """Prints it, and how busy it was over a minute."""
    print(f"{machine()}; load {os.getloadavg()[0]:.1f}")
