"""docs/tour.md, walked through once: its commands in their order, against the demo, answer as shown."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from benchmarks.serving import ROOT
from tests.demo import RESIGHT, running_demo

PAGE = (ROOT / "docs/tour.md").read_text()
STEPS = re.findall(r"^    \$ (.*)\n((?:    (?!\$ ).*\n)*)", PAGE, re.MULTILINE)
# what a word in capitals is, and how the answer before shows it
IDS = {"CLUSTER": r"clusters show --site demo ([0-9a-f]{32})", "CASE": r"(?m)^(\d+-\d+-\S+) "}


def test_the_tour_goes_as_the_page_says(tmp_path: Path) -> None:
    assert len(STEPS) >= 10
    with running_demo(tmp_path) as port:
        walk({"RESIGHT_URL": f"http://127.0.0.1:{port}", "COLUMNS": "160"})


def walk(settings: dict[str, str]) -> None:
    """Runs each command of the page, and compares what it prints."""
    environment = os.environ | settings
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
