"""resight enroll: an image is enrolled once, and what stops a run costs nothing that was done."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from resight_client import Client
from typer.testing import CliRunner

from benchmarks.serving import ServerProcess
from cli.enroll import _fields
from cli.sending import content_key
from resight import app
from tests.tiny import picture, tiny_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for this file; each test has a site of its own."""
    with tiny_server(tmp_path_factory.mktemp("enroll")) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures."""
    for seed in range(20):
        (tmp_path / f"person-{seed % 4}_c{seed % 2}_{seed:02d}.png").write_bytes(picture(seed))
    return tmp_path


def enroll(
    server: ServerProcess, site: str, *words: object, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """The command, in this process."""
    result = CliRunner().invoke(app, ["enroll", "--site", site, "--server", server.url, *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code == status, result.output
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


def count(server: ServerProcess, site: str) -> int:
    """Items of a site."""
    with Client(server.url) as client:
        return len(client.items(site, limit=1000).items)


def test_the_same_folder_again_enrolls_nothing_twice(server: ServerProcess, folder: Path) -> None:
    pattern = ["--pattern", r"(?P<identity>person-\d)_c(?P<camera>\d)"]
    assert "enrolled 20 of 20 images at twice\n" in enroll(server, "twice", folder, *pattern).stdout
    again = enroll(server, "twice", folder, *pattern, "--batch", 3).stdout
    assert "enrolled 20 of 20 images at twice; 20 of them were there already\n" in again
    (folder / "person-0_c0_-1.png").write_bytes(picture(20))  # the first by name
    assert "21 of 21 images at twice; 20 of them were" in enroll(server, "twice", folder, *pattern).stdout
    enroll(server, "twice", folder / "person-3_c1_07.png", *pattern)
    assert count(server, "twice") == 21
    enroll(server, "other", folder / "person-3_c1_07.png", *pattern)
    assert count(server, "other") == 1


def test_a_pattern_with_a_slash_reads_folders(server: ServerProcess, folder: Path) -> None:
    (folder / "door" / "ann").mkdir(parents=True)
    (folder / "door" / "ann" / "1.png").write_bytes(picture(40))
    pattern = ["--pattern", r"^(?P<camera>[^/]+)/(?P<identity>[^/]+)/"]
    enroll(server, "paths", folder / "door" / "ann" / "1.png", "--camera", "x")
    assert "does not fit the path" in enroll(server, "paths", folder / "door", *pattern, status=1).stderr
    for file in folder.glob("*.png"):
        file.unlink()
    enroll(server, "folders", folder, *pattern)
    with Client(server.url) as client:
        (item,) = client.items("folders").items
    assert (item.camera, item.identity) == ("door", "ann")


def test_the_same_picture_with_other_labels_is_another_item(server: ServerProcess, folder: Path) -> None:
    one = folder / "person-3_c1_07.png"
    for labels in (["--camera", "c1"], ["--camera", "c2"], ["--camera", "c2", "--identity", "x"]):
        enroll(server, "labels", one, *labels)
    assert count(server, "labels") == 3


def test_a_file_has_one_key_however_the_letters_of_its_name_are_composed() -> None:
    """macOS takes the accents of file names apart."""
    pattern = re.compile(r"(?P<identity>[^_]+)_(?P<camera>\S+)")
    keys = set()
    for name in ("Jos\u00e9_T\u00fcr", "Jose\u0301_Tu\u0308r"):
        labels = _fields(Path(name), name, pattern, None, None)
        assert labels == {"identity": "Jos\u00e9", "camera": "T\u00fcr"}
        keys.add(content_key("lobby", labels, b"x"))
    assert len(keys) == 1


def test_a_copy_of_a_file_is_one_item_also_in_the_same_run(server: ServerProcess, folder: Path) -> None:
    for number in range(5):
        (folder / f"copy-{number}.png").write_bytes(picture(3))
    assert "5 of them are copies" in enroll(server, "copies", folder).stderr
    assert count(server, "copies") == 20


def test_a_run_that_was_stopped_is_gone_on_with(server: ServerProcess, folder: Path) -> None:
    bad = folder / "person-2_c0_10.png"
    data = bad.read_bytes()
    bad.write_bytes(b"no image")
    stopped = enroll(server, "resumed", folder, "--batch", 2, status=1).stderr
    assert f"{bad}: " in stopped and "image 0" not in stopped and "the same command goes on" in stopped
    assert 0 < count(server, "resumed") < 20
    bad.write_bytes(data)
    enroll(server, "resumed", folder)
    assert count(server, "resumed") == 20


def test_what_was_erased_is_not_brought_back(server: ServerProcess, folder: Path) -> None:
    enroll(server, "erased", folder, "--pattern", r"(?P<identity>person-\d)")
    with Client(server.url) as client:
        client.erase_identity("erased", "person-1")
    again = ["--pattern", r"(?P<identity>person-\d)"]
    assert "is not brought back" in enroll(server, "erased", folder, *again, status=1).stderr
    assert "enrolled 15 of 20" in enroll(server, "erased", folder, *again, "--partial").stdout
    assert count(server, "erased") == 15


def test_a_run_that_enrolls_nothing_fails(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    run = enroll(server, "nothing", tmp_path, "--partial", status=1)
    assert "skipped" in run.stderr and "nothing was enrolled at nothing" in run.stderr
    assert "bad.jpg" in run.stderr
    (tmp_path / "empty").mkdir()
    assert "no .jpg" in enroll(server, "nothing", tmp_path / "empty", status=1).stderr


def test_odd_file_names_are_no_obstacle(server: ServerProcess, folder: Path) -> None:
    for hidden in ("._x.jpg", ".hidden.png", ".ipynb_checkpoints/a.png", "__MACOSX/b.png"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"no image")
    (folder / "folder.jpg").mkdir()
    odd = Path(os.fsdecode(bytes(folder) + b"/caf\xe9.png"))
    odd.write_bytes(picture(30))
    assert "enrolled 21 of 21" in enroll(server, "odd", folder).stdout
    assert count(server, "odd") == 21
    sentence = enroll(server, "odd", odd, "--pattern", "(?P<identity>.*)", status=1).stderr
    assert "caf\\xe9.png" in sentence and "not UTF-8" in sentence
    odd.write_bytes(b"no image")
    assert "caf\\xe9.png" in enroll(server, "odd", odd, status=1).stderr


def run(server: ServerProcess, verb: str, site: str, *words: object) -> str:
    """What another verb prints, on both channels."""
    result = CliRunner().invoke(app, [verb, "--site", site, "--server", server.url, *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


def test_an_empty_list_says_whether_there_is_such_a_site(server: ServerProcess, folder: Path) -> None:
    enroll(server, "list", folder / "person-3_c1_07.png")
    assert "there is no site nowhere" in run(server, "list", "nowhere").replace("'", "")
    assert (
        run(server, "list", "list", "--camera", "c9") == "site list has no items that meet the conditions\n"
    )
    run(server, "erase", "list", "--all", "--yes")
    assert run(server, "list", "list") == "site list has no items\n"


def test_errors_name_the_options_that_were_given(server: ServerProcess, folder: Path) -> None:
    image = folder / "person-3_c1_07.png"
    enroll(server, "options", image)
    for verb, words, sentence in (
        ("query", [image, "--top-k", 0], "--top-k is 0"),
        ("query", [image, "--threshold", 2], "--threshold is 2"),
        ("query", [image, "--exclude-same-camera"], "send --query-camera"),
        ("query", [image, "--filter", '{"top_k": 1}'], "'top_k'"),
        ("list", ["--captured-after", "yesterday"], "--captured-after 'yesterday' is no time"),
        ("list", ["--limit", 0], "--limit is 0"),
        ("adapt", ["--max-samples", 1], "--max-samples is 1"),
    ):
        assert sentence in run(server, verb, "options", *words).replace('"', "'"), words
    assert "--site '?'" in run(server, "enroll", "?", image)
