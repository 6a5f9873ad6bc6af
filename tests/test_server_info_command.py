"""resight info and resight image: what a server runs, and one picture that it keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from resight_client import Client
from typer.testing import CliRunner, Result

from benchmarks.serving import ServerProcess
from resight import app
from tests.tiny import picture, tiny_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for this file."""
    with tiny_server(tmp_path_factory.mktemp("info")) as running:
        yield running


def run(server: ServerProcess, *words: object) -> Result:
    """A command, in this process."""
    return CliRunner().invoke(app, [*map(str, words), "--server", server.url])


def test_info_says_which_model_and_which_engine_run(server: ServerProcess) -> None:
    with Client(server.url) as client:
        report = client.info()
    said = run(server, "info").stdout
    assert f"{report['bundle']['name']}: {report['bundle']['architecture']}" in said
    assert (
        f"{report['engine']['engine']} {report['engine']['version']}, {report['engine']['precision']}" in said
    )
    for name, trial in report["engine_trials"].items():
        assert f"engine {name} was tried: {trial['refused'] or ''}" in said
        if trial["crops_per_second"] is not None:
            assert f"{trial['crops_per_second']:.0f} crops a second" in said
    for name, reason in report["refused_engines"].items():
        assert f"engine {name} was refused: {reason}" in said


def test_info_as_json_is_all_that_the_server_says(server: ServerProcess) -> None:
    with Client(server.url) as client:
        report = client.info()
    shown = json.loads(run(server, "info", "--json").stdout)
    assert {**shown, "uptime_s": 0} == {**report, "uptime_s": 0}


def test_a_picture_comes_back_as_it_was_enrolled_and_replaces_no_file(
    server: ServerProcess, tmp_path: Path
) -> None:
    with Client(server.url) as client:
        item = client.enroll("lobby", picture(0)).items[0].id
    out = tmp_path / "crop.png"
    assert f"wrote {out}" in run(server, "image", item, "--out", out).stdout
    assert out.read_bytes() == picture(0)
    out.write_bytes(b"mine")
    again = run(server, "image", item, "--out", out)
    assert again.exit_code == 1 and "is there already" in again.stderr
    assert out.read_bytes() == b"mine"


def test_a_picture_of_no_item_leaves_no_file(server: ServerProcess, tmp_path: Path) -> None:
    refused = run(server, "image", "nobody", "--out", tmp_path / "crop.png")
    assert refused.exit_code == 1 and "there is no item 'nobody'" in refused.stderr
    assert not list(tmp_path.iterdir())
