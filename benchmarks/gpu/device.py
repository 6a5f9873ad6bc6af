"""What the driver says of the GPU, without a library of CUDA in this process."""

from __future__ import annotations

import shutil
import subprocess


def found() -> bool:
    """Whether there is a GPU whose driver answers."""
    return _ask("name") is not None


def name() -> str:
    """Name and driver of the first GPU."""
    return _ask("name,driver_version") or "no device"


def used_mib() -> int | None:
    """MiB of the first GPU's memory that are in use, by whichever process; None without a GPU."""
    answer = _ask("memory.used")
    return int(answer) if answer is not None else None


def _ask(fields: str) -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", "--id=0"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return asked.stdout.strip().splitlines()[0] if asked.returncode == 0 and asked.stdout.strip() else None
