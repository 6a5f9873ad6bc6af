"""docs/tour.md, walked through once: its commands in their order, against the demo, answer as shown."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving import ROOT, free_ports

PAGE = (ROOT / "docs/tour.md").read_text()
STEPS = re.findall(r"^    \$ (.*)\n((?:    (?!\$ ).*\n)*)", PAGE, re.MULTILINE)
# what a word in capitals is, and how the answer before shows it
IDS = {"CLUSTER": r"│ ([0-9a-f]{32}) │", "CASE": r"(?m)^(\d+-\d+-\S+) "}
RESIGHT = Path(sys.executable).parent / "resight"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The demo, as `make demo` starts it."""
    (port,) = free_ports(1)
    environment = os.environ | {"RESIGHT_GALLERY": str(tmp_path / "gallery"), "RESIGHT_DEVICE": "cpu"}
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
        yield f"http://127.0.0.1:{port}"
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.wait(30)


def test_the_tour_goes_as_the_page_says(url: str) -> None:
    assert len(STEPS) >= 10
    environment = os.environ | {"RESIGHT_URL": url, "COLUMNS": "160"}
    ids: dict[str, str] = {}
    for command, shown in STEPS:
        words = [ids.get(word, word) for word in shlex.split(command)]
        ended = subprocess.run(
            [RESIGHT, *words[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
        )
        assert ended.returncode == 0, f"{command}: {ended.stderr}"
        for name, how in IDS.items():
            if name in shown:
                seen = re.search(how, ended.stdout)
                assert seen is not None, f"{command} shows no {name}: {ended.stdout}"
                ids[name] = seen[1]
        printed = re.sub(r"\s+", " ", ended.stdout + ended.stderr)
        for line in shown.splitlines():
            for part in line.split("..."):
                part = ids.get(part.strip(), part.strip())
                assert part in printed, f"{command} does not print {part!r}: {printed}"
