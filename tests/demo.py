"""The demo as `make demo` starts it, for the tests that walk through it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.serving import ROOT, free_ports

RESIGHT = Path(sys.executable).parent / "resight"


@contextmanager
def running_demo(folder: Path) -> Iterator[int]:
    """The port of the demo, whose gallery lies in a folder; its crops are enrolled by then."""
    (port,) = free_ports(1)
    environment = os.environ | {"RESIGHT_GALLERY": str(folder / "gallery"), "RESIGHT_DEVICE": "cpu"}
    demo = subprocess.Popen(
        ["bash", "scripts/demo.sh", RESIGHT, str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Ctrl-C ends the demo" in line:
                break
        yield port
    finally:
        # ends it as Ctrl-C does; a shell in the background may be deaf to SIGINT
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(30) == 0
