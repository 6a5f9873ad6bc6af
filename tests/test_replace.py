"""An export replaces a bundle and nothing else, and other users can read what it writes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from export.replace import check_replaceable, replacing
from reid.bundle import GRAPH, MANIFEST, WEIGHTS, BundleError
from resight import app
from tests.conftest import SMALL, make_checkpoint
from tests.tiny import make_tiny_bundle
from training.checkpoint import Checkpoint


def holding(folder: Path, *names: str) -> Path:
    """A folder with files of these names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    return folder


def a_bundle(folder: Path) -> Path:
    """A folder that looks like a bundle."""
    holding(folder, MANIFEST, GRAPH, WEIGHTS)
    (folder / MANIFEST).write_text(json.dumps({"schema_version": 1, "files": {}, "weights_licence": "x"}))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "names", [["photo.jpg"], ["a/b.txt"], [MANIFEST], [MANIFEST, GRAPH, WEIGHTS], [GRAPH, ".hidden"]]
)
def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path, names: list[str], force: bool) -> None:
    out = holding(tmp_path / "out", *names)
    before = contents(tmp_path)
    with pytest.raises(BundleError, match="is no bundle: only bundles are replaced"):
        check_replaceable(out, force)
    assert contents(tmp_path) == before


def test_a_file_and_a_link_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("theirs")
    (tmp_path / "link").symlink_to(a_bundle(tmp_path / "bundle"))
    for name in ("file", "link"):
        with pytest.raises(BundleError, match="a file or a link"):
            check_replaceable(tmp_path / name, force=True)


def test_a_bundle_with_other_files_is_replaced_only_when_forced(tmp_path: Path) -> None:
    out = holding(a_bundle(tmp_path / "out"), "notes.txt")
    with pytest.raises(BundleError, match=r"also holds notes\.txt"):
        check_replaceable(out)
    with replacing(out, force=True) as staged:
        holding(staged, "new")
    assert contents(tmp_path) == {"out/new": b"theirs"}


def an_empty_folder(folder: Path) -> Path:
    """A folder without files."""
    folder.mkdir()
    return folder


@pytest.mark.parametrize("make", [Path, an_empty_folder, a_bundle])
def test_what_was_written_takes_the_place_of_a_bundle_and_leaves_nothing_else(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    out = make(tmp_path / "out")
    with replacing(out) as staged:
        holding(staged, "new")
    assert contents(tmp_path) == {"out/new": b"theirs"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def write(out: Path, inside: Callable[[Path], object]) -> None:
    """Replaces a folder by what a function writes."""
    with replacing(out) as staged:
        inside(staged)


def fail(staged: Path) -> None:
    """Writes a half and fails."""
    holding(staged, "half")
    raise RuntimeError


def test_a_failure_leaves_the_bundle_as_it_was(tmp_path: Path) -> None:
    before = contents(a_bundle(tmp_path / "out"))
    with pytest.raises(RuntimeError):
        write(tmp_path / "out", fail)
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "out", lambda staged: None)
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_comes_into_the_folder_during_the_export_is_kept(tmp_path: Path) -> None:
    out = a_bundle(tmp_path / "out")
    with pytest.raises(BundleError, match=r"also holds late\.txt"):
        write(out, lambda staged: (holding(staged, "new"), holding(out, "late.txt")))
    assert "late.txt" in contents(out) and "new" not in contents(out)


def test_a_run_cannot_be_exported_over_itself(tmp_path: Path) -> None:
    run = make_checkpoint(tmp_path / "run", SMALL)
    before = contents(run)
    ended = CliRunner().invoke(app, ["export", str(run), "--out", str(run), "--force"])
    assert ended.exit_code == 1 and "no bundle" in ended.output
    assert contents(run) == before


@pytest.mark.parametrize("text", ["", "[]", '{"mAP": 3}', '"mAP dataset"'])
def test_metrics_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "scores.json"
    file.write_text(text)
    ended = CliRunner().invoke(
        app, ["export", str(tmp_path), "--out", str(tmp_path / "x"), "--metrics", str(file)]
    )
    assert ended.exit_code == 1 and "--metrics" in ended.output


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_weights_can_be_read_by_whom_the_umask_allows(tmp_path: Path, umask: int, mode: int) -> None:
    (tmp_path / "checkpoint.partial").touch(0o400)  # of a run that was killed
    before = os.umask(umask)
    try:
        Checkpoint({}, {"model": {}}).save(tmp_path / "checkpoint.safetensors")
        with replacing(tmp_path / "x.resight") as staged:
            make_tiny_bundle(tmp_path).path.rename(staged)
    finally:
        os.umask(before)
    files = [tmp_path / "checkpoint.safetensors", *(tmp_path / "x.resight").iterdir()]
    assert {path.stat().st_mode & 0o777 for path in files} == {mode}
    assert (tmp_path / "x.resight").stat().st_mode & 0o777 == 0o777 & ~umask
