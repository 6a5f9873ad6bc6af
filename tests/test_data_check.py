"""`resight data check`, and what training and evaluation say of their data."""

import dataclasses
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from export.card import card
from reid.bundle import Bundle
from reid.ranking import rank_embeddings
from resight import app
from tests.test_own_data import draw
from tests.tiny import make_tiny_bundle
from training.compare import Comparison, Entry, compare, queries
from training.data import read_dataset
from training.data.contact_sheet import draw_contact_sheet
from training.data.inspection import inspect
from training.data.matches import count_matchless, require_matches
from training.data.records import DatasetError
from training.data.summary import in_lines, summarise
from training.evaluate import embed_dataset, of_queries, query_counts, scored

# of four queries only anna's has a match: ben's is of the same camera, carl and dora are not in the gallery
FOUR = (
    "query/anna/door_1.png",
    "query/ben/door_1.png",
    "query/carl/door_1.png",
    "query/dora/door_1.png",
    "gallery/anna/hall_1.png",
    "gallery/ben/door_2.png",
    "gallery/emil/hall_1.png",
)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people to train on, four queries and their gallery."""
    root = tmp_path_factory.mktemp("four")
    draw(
        root,
        *FOUR,
        *(f"train/{p}/{c}_{i}.png" for p in ("fred", "anna") for c in ("door", "hall") for i in "12"),
    )
    draw(root, "val/hugo/door_1.png")
    (root / "hugo.tiff").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle that is computed by hand."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


def run(*words: object) -> Any:
    """A command in this process."""
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_queries_without_a_match_are_counted_by_camera(four: Path) -> None:
    data = read_dataset("folders", four)
    assert (count_matchless(data), count_matchless(data, ignore_camera=True)) == (3, 2)
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(n, 4)).astype(np.float32) for n in (4, 3)]
    labels = [[r.pid for r in data.query], [r.pid for r in data.gallery]]
    cameras = [[r.camid for r in data.query], [r.camid for r in data.gallery]]
    for ignored in (False, True):  # the ranking's own count is the same
        scores = rank_embeddings(*vectors, *map(np.array, [*labels, *cameras]), ignore_camera=ignored)
        assert scores.skipped == count_matchless(data, ignored)


def test_an_evaluation_says_how_many_queries_could_not_be_scored(
    four: Path, bundle: Bundle, tmp_path: Path
) -> None:
    words = ("evaluate", bundle.path, "--dataset", "folders", "--data", four, "--engine", "onnxruntime")
    result = run(*words, "--json", tmp_path / "numbers.json")
    assert result.exit_code == 0, result.output
    assert "1 of 4 queries, 3 without a match in the gallery" in result.stdout
    assert "3 of 4 queries have no match by another camera in the gallery" in result.stdout
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["queries"], numbers["queries without a match"]) == (1, 3)
    manifest = bundle.manifest.model_copy(update={"metrics": [numbers]})
    assert "| queries | queries without a match |" in card(manifest)
    result = run(*words, "--ignore-cameras", "--json", tmp_path / "numbers.json")
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["queries"], numbers["queries without a match"]) == (2, 2)
    assert numbers["command"].endswith("--ignore-cameras")
    result = run(*words, "--splits", "2")
    assert "folders has one split" in result.stderr


def test_an_evaluation_may_leave_out_unreadable_images_and_counts_them(
    bundle: Bundle, tmp_path: Path
) -> None:
    draw(tmp_path, *FOUR)
    (tmp_path / "gallery/emil/hall_1.png").write_bytes(b"nothing")
    words = ("evaluate", bundle.path, "--dataset", "folders", "--data", tmp_path, "--engine", "onnxruntime")
    result = run(*words)
    assert result.exit_code == 1 and f"{tmp_path}/gallery/emil/hall_1.png: not a JPEG" in result.stderr
    result = run(*words, "--skip-unreadable", "--json", tmp_path / "numbers.json")
    assert f"left out of gallery, as it cannot be read: {tmp_path}/gallery/emil/hall_1.png" in result.stdout
    assert json.loads((tmp_path / "numbers.json").read_text())["images left out"] == 1


def test_a_comparison_refuses_a_target_that_cannot_be_scored_before_it_trains(
    four: Path, tmp_path: Path
) -> None:
    draw(tmp_path, *(f"one/{part}/anna/{part}.png" for part in ("query", "gallery")))
    (tmp_path / "four").symlink_to(four)
    plan = Comparison([Entry("bot", "bot-small")], [("folders:four", "folders:four,folders:one")])
    with pytest.raises(DatasetError, match="--ignore-cameras"):
        compare(plan, tmp_path, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_every_table_of_scores_has_the_number_of_queries() -> None:
    known = {"target": "a", "name": "bot", "queries": 40, "queries without a match": 0}
    few = {"target": "b", "name": "bot", "queries": 1, "queries without a match": 3}
    old = {"target": "c", "name": "bot", "queries": 40}  # a result of an earlier version
    assert queries([known, few, few, old]) == ["40", "1 of 4", "40"]
    assert (scored(few), of_queries(known)) == ("1 of 4", "40 queries")
    unit = np.eye(2, 4, dtype=np.float32)
    scores = rank_embeddings(unit, unit, *(np.array(v) for v in ([1, 2], [1, 3], [0, 0], [1, 1])))
    assert query_counts(scores) == {"queries": 1, "queries without a match": 1}


def test_what_cannot_be_evaluated_is_refused_before_it_is_embedded(tmp_path: Path) -> None:
    draw(tmp_path, "query/anna/1.png", "gallery/anna/2.png", "gallery/ben/1.png")
    one_camera = read_dataset("folders", tmp_path)
    with pytest.raises(DatasetError, match=r"of the query's own camera.*--ignore-cameras"):
        embed_dataset(lambda crops: np.zeros(0), one_camera, (16, 8))
    require_matches(dataclasses.replace(one_camera, ignore_camera=True))
    strangers = dataclasses.replace(one_camera, gallery=one_camera.gallery[1:])
    with pytest.raises(DatasetError, match="none of the people of the 1 queries is in the gallery"):
        require_matches(strangers)


def test_the_check_prints_numbers_and_what_is_odd(four: Path, tmp_path: Path) -> None:
    result = run("data", "check", "folders", "--data", four, "--json", tmp_path / "found.json")
    assert result.exit_code == 0, result.output
    assert "queries that can be scored: 1 of 4" in result.stdout
    for note in (
        "note: 3 of 4 queries have no match by another camera in the gallery and cannot be scored",
        "note: 1 person is called alike in train and in query or gallery (anna)",
        "note: 1 images are not read, such as",
        "note: files that are not read as images: 1 .tiff",
        "note: file names read as CAMERA_anything: door_1.png is person anna, camera door",
        "nothing to mend; next: resight train",
    ):
        assert note in result.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["parts"]["train"]["images by camera"] == {"door": 4, "hall": 4}
    assert found["parts"]["gallery"]["images a person"] == {"fewest": 1, "median": 1, "most": 1}
    assert (found["queries"], found["queries without a match"]) == (1, 3)
    assert found["unreadable"] == [] and found["sizes"] == {"smallest": [16, 8], "largest": [16, 8]}


def test_the_check_finds_unreadable_images_and_pictures_that_stand_twice(four: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    draw(root, *FOUR, "train/fred/door_1.png", "train/gus/hall_1.png", "train/gus/hall_2.png")
    (root / "train/fred/hall_1.png").write_bytes(b"nothing")
    Image.open(root / "query/anna/door_1.png").save(
        root / "gallery/anna/hall_9.bmp"
    )  # another file, equal pixels
    Image.open(root / "train/gus/hall_1.png").save(
        root / "train/fred/hall_2.png", pnginfo=None, optimize=True
    )
    result = run("data", "check", "folders", "--data", root)
    assert result.exit_code == 1
    assert f"to mend: cannot be read: {root}/train/fred/hall_1.png: " in result.stdout
    assert (
        f"one picture of fred and gus: {root}/train/fred/hall_2.png, {root}/train/gus/hall_1.png"
        in result.stdout
    )
    assert f"one picture in query and gallery: {root}/query/anna/door_1.png" in result.stdout
    assert "to mend:" not in run("data", "check", "folders", "--data", root, "--quick").stdout
    for path in (root / "gallery").rglob("*.*"):
        path.rename(path.with_name("door_" + path.name))
    result = run("data", "check", "folders", "--data", root, "--quick")
    assert (result.exit_code, "to mend: no query can be scored" in result.stdout) == (1, True)
    assert (
        "no query can be scored"
        not in run("data", "check", "folders", "--data", root, "--quick", "--ignore-cameras").stdout
    )


def test_the_check_names_a_command_that_fits_the_data(tmp_path: Path) -> None:
    def people(count: int, images: int = 2) -> list[str]:
        return [f"train/p{person:02d}/c{image}_1.png" for person in range(count) for image in range(images)]

    def last_line(name: str, root: Path) -> str:
        result = run("data", "check", name, "--data", root, "--quick")
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()[-1]

    draw(tmp_path / "many", *people(16))  # as many as a batch of the recipe
    draw(tmp_path / "few", *people(15), "train/single/c1_1.png")
    draw(tmp_path / "one", *people(1), "train/single/c1_1.png")
    start = f"nothing to mend; next: resight train bot-small --data {tmp_path} --set dataset=folders:"
    assert last_line("folders:many", tmp_path) == f"{start}many --out RUN"
    smaller = "--set batch_identities=15 --leave-out-singles"
    assert last_line("folders:few", tmp_path) == f"{start}few {smaller} --out RUN"
    assert last_line("folders:one", tmp_path).endswith("a training needs two people with two images each")
    unlabeled = f"next: resight distill TEACHER --unlabeled {tmp_path}/one --out RUN"
    assert last_line("unlabeled:one", tmp_path).endswith(unlabeled)


def test_names_in_any_letters_are_counted_and_printed(tmp_path: Path) -> None:
    composed, decomposed = "Jos\u00e9", "Jose\u0301"
    draw(tmp_path, f"train/{composed}/[door]_1.png", f"train/{composed}/[door]_2.png")
    for part, camera in (("query", "[door]"), ("gallery", os.fsdecode(b"hall\xff"))):
        draw(tmp_path, f"{part}/{decomposed}/{camera}_1.png")
    (tmp_path / "train" / composed / os.fsdecode(b"[door]_\xff.png")).write_bytes(b"nothing")
    result = run("data", "check", "folders", "--data", tmp_path, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 1
    assert f"1 person is called alike in train and in query or gallery ({composed})" in result.stdout
    assert "[door]" in result.stdout and "hall\\udcff" in result.stdout
    assert "to mend: cannot be read: " in result.stdout and "[door]_\\udcff.png" in result.stdout


def test_classes_are_not_reported_against_themselves(tmp_path: Path) -> None:
    draw(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "test/dog/2.png")
    assert inspect(read_dataset("classes", tmp_path)).across_parts == []


def test_the_sheet_shows_people_in_rows_by_camera(four: Path, tmp_path: Path) -> None:
    draw(tmp_path, *FOUR)
    (tmp_path / "query/dora/door_1.png").write_bytes(b"nothing")
    data = read_dataset("folders", tmp_path)
    sheet = draw_contact_sheet(data, people=5)
    assert sheet.height > 5 * 128
    assert (np.asarray(sheet)[3 * 148 + 30, 140] == 225).all()  # dora's crop is a grey box
    result = run("data", "check", "folders", "--data", four, "--sheet", tmp_path / "sheet.png")
    assert (
        result.exit_code == 0
        and Image.open(tmp_path / "sheet.png").size == draw_contact_sheet(read_dataset("folders", four)).size
    )


def test_a_training_begins_with_its_data(four: Path) -> None:
    assert in_lines(summarise(read_dataset("folders", four)))[:3] == [
        "folders: train: 8 images of 2 people (4 to 4 each) by 2 cameras",
        "folders: query: 4 images of 4 people (1 to 1 each) by 1 camera",
        "folders: gallery: 3 images of 3 people (1 to 1 each) by 2 cameras",
    ]


PAGE = Path(__file__).parent.parent / "docs/datasets.md"


@pytest.mark.parametrize("line", re.findall(r"^    resight (.*)$", PAGE.read_text(), re.MULTILINE))
def test_every_command_of_the_page_takes_its_options(line: str) -> None:
    words = shlex.split(line)
    command: Any = typer.main.get_group(app)
    while isinstance(command, typer.core.TyperGroup):
        command = command.commands[words.pop(0)]
    command.make_context("resight", words)
