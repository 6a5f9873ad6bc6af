"""docs/answers.md: every command for a server, run against one, and the numbers of its rule."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from resight_client import Client
from typer.testing import CliRunner

from benchmarks.serving import ROOT, ServerProcess
from cli.app import app
from reid.false_alarms import people_needed
from tests.test_calibration import PEOPLE, SEEN, crop
from tests.tiny import tiny_server

PAGE = (ROOT / "docs/answers.md").read_text()
COMMANDS = re.findall(r"^    ((?:curl|resight) .*)$", PAGE, re.MULTILINE)
PROGRAMS = re.findall(r"(?:^    (?!curl|resight|python ).+\n)+", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose site `lobby` has 40 people at two cameras."""
    with tiny_server(tmp_path_factory.mktemp("answers")) as running, Client(running.url) as client:
        records = [{"camera": f"c{camera}", "identity": f"person-{person}"} for person, camera, _ in SEEN]
        images = [crop(*seen) for seen in SEEN]
        for start in range(0, len(images), 32):
            client.enroll("lobby", images[start : start + 32], records=records[start : start + 32])
        yield running


def test_the_page_has_its_commands() -> None:
    assert (len(COMMANDS), len(PROGRAMS)) == (9, 3)


def test_every_command_and_program_of_the_page_works(
    serving: ServerProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESIGHT_URL", serving.url)
    Path("crop.jpg").write_bytes(crop(3, 0, 9))
    with Client(serving.url) as client:
        client.calibrate("lobby")  # by a later command, too; but those before it are answered better
        for command in COMMANDS:
            words = shlex.split(command.replace("http://127.0.0.1:8000", serving.url))
            if words[0] == "resight":
                ran = CliRunner().invoke(app, words[1:])
                assert ran.exit_code == 0, (command, ran.output)
                assert "lobby" in ran.output, command
                continue
            done = subprocess.run([*words, "--silent", "--fail-with-body"], capture_output=True, text=True)
            assert done.returncode == 0, (command, done.stdout)
            assert "lobby" in done.stdout or "slope" in done.stdout, command
        for program in PROGRAMS:
            exec("\n".join(line[4:] for line in program.splitlines()), {"client": client})
            assert capsys.readouterr().out, program


def test_the_page_says_how_many_people_have_to_be_labelled() -> None:
    assert [people_needed(rate, 1000) for rate in (0.1, 0.01, 0.001)] == [50, 159, 500]
    assert people_needed(0.1, PEOPLE) <= PEOPLE
