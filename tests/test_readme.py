"""The README's own lines, run: its first screen against the real demo, its other commands against their
options."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from benchmarks.serving import ROOT
from resight import app
from tests.demo import running_demo

README = (ROOT / "README.md").read_text()
DEMO_URL = "http://127.0.0.1:8000"


def lines(start: str) -> list[str]:
    """Command lines of the README's blocks that start with a word, without their comments."""
    found = re.findall(rf"^    (?:\$ )?({start} .*)$", README, re.MULTILINE)
    return [shlex.join(shlex.split(line, comments=True)) for line in found]


def test_the_first_screen_answers_as_shown(tmp_path: Path) -> None:
    with running_demo(tmp_path) as port:
        blocks = re.findall(r"^    \$ (curl .*)\n((?:    (?!\$ ).*\n)*)", README, re.MULTILINE)
        assert len(blocks) >= 5
        job = ""
        for command, shown in blocks:
            words = shlex.split(
                command.replace(DEMO_URL, f"http://127.0.0.1:{port}").replace("JOB", job), comments=True
            )
            answer = run(words)
            if "/adapt/JOB" in command:
                while answer["state"] in ("queued", "running"):
                    time.sleep(0.5)
                    answer = run(words)
                assert answer["state"] == "succeeded", answer
            job = answer.get("job", job)
            missing = [key for key in re.findall(r'"(\w+)":', shown) if f'"{key}"' not in json.dumps(answer)]
            assert not missing, f"{command} does not answer {missing}"
            for value in re.findall(r'"(?:decision|identity)":"\w+"', shown):
                answered = json.dumps(answer, separators=(",", ":"))
                assert value in answered, f"{command} does not answer {value}"
            if '"cluster":"..."' in shown:
                assert answer["people"][0]["cluster"], f"{command} finds no unknown person"
    with pytest.raises(subprocess.CalledProcessError):  # nothing is left running
        subprocess.run(["curl", "-s", f"http://127.0.0.1:{port}/health"], check=True)


def run(words: list[str]) -> dict[str, object]:
    """The JSON that a curl line answers."""
    return json.loads(
        subprocess.run(
            [words[0], "-sS", *words[1:]], cwd=ROOT, check=True, capture_output=True, timeout=60
        ).stdout
    )


@pytest.mark.parametrize("line", lines("resight"))
def test_every_command_takes_its_options(line: str) -> None:
    _, verb, *words = shlex.split(line)
    typer.main.get_group(app).commands[verb].make_context(verb, words)


@pytest.mark.parametrize("line", lines("python -m"))
def test_every_benchmark_exists(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(shlex.split(line)[2])
    monkeypatch.setattr(sys, "argv", [*shlex.split(line)[2:], "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)", README, re.MULTILINE))
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
