"""Finds worker processes."""

from __future__ import annotations

import time
from pathlib import Path


def workers_of(parent: int) -> list[int]:
    """Process ids of the workers of a process that run or are stopped."""
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes()
            fields = (entry / "stat").read_text().rpartition(")")[2].split()  # state, parent, ...
        except (OSError, ValueError):
            continue
        if b"server.worker" in words and int(fields[1]) == parent:
            pids.append(int(entry.name))
    return pids


def wait_for_worker(parent: int, seconds: float = 60) -> int:
    """The process id of the worker that a process starts soon."""
    until = time.monotonic() + seconds
    while not workers_of(parent):
        assert time.monotonic() < until, "no worker was started"
        time.sleep(0.01)
    return workers_of(parent)[0]


def wait_for_end(pid: int, seconds: float = 20) -> None:
    """Waits until a process is gone."""
    until = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < until, f"process {pid} is still there"
        time.sleep(0.01)
