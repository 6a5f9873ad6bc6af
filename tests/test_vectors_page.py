"""docs/vectors.md: every command and program of the page, run against a server."""

from __future__ import annotations

import json
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
from tests.tiny import picture, tiny_server

PAGE = (ROOT / "docs/vectors.md").read_text()
COMMANDS = re.findall(r"^    ((?:curl|resight) .*)$", PAGE, re.MULTILINE)
PROGRAMS = re.findall(r"(?:^    (?!curl|resight).+\n)+", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose site `lobby` has two items."""
    with tiny_server(tmp_path_factory.mktemp("page")) as running, Client(running.url) as client:
        client.enroll("lobby", [picture(0), picture(1)], camera="door")
        yield running


def test_every_command_and_program_of_the_page_works(
    serving: ServerProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (len(COMMANDS), len(PROGRAMS)) == (6, 2)
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("crop.jpg", "a.jpg", "b.jpg")):
        Path(name).write_bytes(picture(seed))
    with Client(serving.url) as client:
        embedded = client.embed("lobby", ["a.jpg"])
        Path("vector.txt").write_text(json.dumps(embedded.vectors[0]))
        monkeypatch.setenv("SPACE", embedded.raw_space_id)
        for command in COMMANDS:
            command = command.replace("http://127.0.0.1:8000", serving.url)
            if command.startswith("resight"):
                ran = CliRunner().invoke(app, shlex.split(command)[1:])
                assert ran.exit_code == 0 and "lobby" in ran.output, (command, ran.output)
                continue
            words = command.replace("curl ", "curl --silent --fail-with-body ", 1)
            done = subprocess.run(words, shell=True, capture_output=True, text=True)
            assert done.returncode == 0, (command, done.stdout)
            said = Path("crop.json").read_text() if "> crop.json" in command else done.stdout
            assert json.loads(said).get("raw_space_id") or json.loads(said)["note"], command
        for program in PROGRAMS:
            exec("\n".join(line[4:] for line in program.splitlines()), {"client": client})
            assert capsys.readouterr().out, program
