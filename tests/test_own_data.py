"""People's own data: Market-style folders, lists and patterns, and which of it is trained on."""

import os
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from training.data import read_dataset, read_training
from training.data.records import Dataset, DatasetError, Record
from training.data.selection import Selection

ALL = Selection(all_images=True)


def draw(root: Path, *names: str) -> None:
    """Tiny pictures under `root`, no two alike."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(sum(os.fsencode(name)) * len(name)).integers(
            0, 255, (16, 8, 3), np.uint8
        )
        Image.fromarray(pixels).save(root / name, "PNG")


def people(dataset: Dataset, records: list[Record]) -> list[tuple[str, str]]:
    """Names of person and camera of each record."""
    return [(dataset.people[r.pid - 1] if r.pid else "", dataset.cameras[r.camid]) for r in records]


MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.png",
    "bounding_box_train/0002_c3s1_000001_01.png",
    "query/0003_c1s1_000001_00.png",
    "bounding_box_test/0003_c3s2_000002_01.png",
    "bounding_box_test/0000_c1s1_000003_01.png",
    "bounding_box_test/-1_c4s1_000004_01.png",
)


def test_market_style_folders_are_read_without_published_counts(tmp_path: Path) -> None:
    draw(tmp_path / "site", *MARKET)
    data = read_dataset("market-style:site", tmp_path)
    assert people(data, data.train) == [("2", "c1"), ("2", "c3")]
    assert people(data, data.query) == [("3", "c1")]
    assert people(data, data.gallery) == [("", "c1"), ("3", "c3")]
    assert data.notes == ("1 junk crops (identity -1) are left out",)


def test_market_style_names_may_be_the_users_own(tmp_path: Path) -> None:
    draw(
        tmp_path,
        *(f"bounding_box_train/{name}.png" for name in ("anna_c0_1", "anna_c12_a_2", "0_c0_1", "0_c1_1")),
    )
    data = read_dataset("market-style", tmp_path)
    # a person 0 who is trained on is a person, and camera 0 is a camera
    assert people(data, data.train) == [("0", "c0"), ("0", "c1"), ("anna", "c0"), ("anna", "c12")]
    assert min(r.camid for r in data.train) == 0
    draw(tmp_path, "bounding_box_train/holiday.png")
    with pytest.raises(DatasetError, match=r"holiday\.png is not named like PERSON_cCAMERA"):
        read_dataset("market-style", tmp_path)


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds none of bounding_box_train, query, bounding_box_test"):
        read_dataset("market-style", tmp_path)
    draw(tmp_path, "query/0003_c1s1_000001_00.png")
    with pytest.raises(
        DatasetError, match="has only query crops; it needs train crops, or query and gallery"
    ):
        read_dataset("market-style", tmp_path)


LIST = """path,person,camera,part,time,track
a/1.png,anna,door,train,2026-05-04T10:15:00Z,1
a/2.png,anna,hall,train,1777890000,1
b/1.png,ben,door,query,20260504,
b/2.png,ben,hall,gallery,,
c/1.png,,hall,gallery,,
"""
LISTED = ("a/1.png", "a/2.png", "b/1.png", "b/2.png", "c/1.png")


@pytest.mark.parametrize(
    "text",
    [
        LIST,
        "\ufeff" + LIST.replace(",", ";").replace("\n", "\r\n"),
        LIST.replace(",", "\t").replace("person", "Identity").replace("time", "captured_at"),
        LIST.replace("/", "\\"),
        LIST.replace("path", "colour,path")
        .replace("\n", '\n"red, or so",')[: -len('"red, or so",')]
        .replace('"red, or so",a/1', "red,a/1"),
    ],
    ids=["commas", "Excel", "tabs", "Windows", "more columns"],
)
def test_a_csv_list_says_who_is_where(text: str, tmp_path: Path) -> None:
    draw(tmp_path, *LISTED)
    (tmp_path / "crops.csv").write_bytes(text.encode())
    data = read_dataset("list:crops.csv", tmp_path)
    assert people(data, data.train) == [("anna", "door"), ("anna", "hall")]
    assert people(data, data.query) == [("ben", "door")]
    assert people(data, data.gallery) == [("ben", "hall"), ("", "hall")]
    assert [r.track for r in data.train] == [0, 1] and data.query[0].track == -1
    assert "2026-05-04T00:00:00+00:00 and 2026-05-04T10:" in data.notes[0]


def test_a_parquet_list_is_a_list(tmp_path: Path) -> None:
    draw(tmp_path, *LISTED)
    columns = {
        "path": list(LISTED),
        "person": [101.0, 101.0, 102.0, 102.0, None],  # as pandas writes numbers beside missing ones
        "camera": [1, 2, 1, 2, 2],
        "part": ["train", "train", "query", "gallery", "gallery"],
        "size": [9] * 5,
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "crops.parquet")
    data = read_dataset("list:crops.parquet", tmp_path)
    assert people(data, [*data.train, *data.query]) == [("101", "1"), ("101", "2"), ("102", "1")]
    assert people(data, data.gallery) == [("102", "2"), ("", "2")]
    (tmp_path / "crops.parquet").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="is not a Parquet file"):
        read_dataset("list:crops.parquet", tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,camera\na/1.png,1\n", "needs the columns path and person, each once.*it has 'path', 'camera'"),
        ("path,person,identity\na/1.png,1,1\n", "needs the columns path and person, each once"),
        ("", "it has none"),
        ("path,person\n,anna\n", "line 2: no path"),
        ("path,person,part\na/1.png,,query\n", "line 2: no person"),
        ("path,person,part\na/1.png,anna,test\n", "line 2: part is 'test'; it can be train, query, gallery"),
        ("path,person\na/1.png,anna,door\n", "line 2: 3 fields; the first line has 2"),
        ("path,person,time\na/1.png,anna,2026\n", "line 2: time is '2026'"),
        ("path,person,time\na/1.png,anna,1e30\n", "line 2: time is '1e30'"),
        ("path,person,time\na/1.png,anna,99999999999999999999\n", "line 2: time is"),
        ("path,person\nb/1.png,anna\n", r"none of the 1 paths of .* exists; the first is .*b/1\.png"),
        ("path,person\n", "has no crops"),
        ("path,person\n\xff", "is not CSV in UTF-8"),
    ],
)
def test_a_wrong_list_is_refused_by_its_line(text: str, sentence: str, tmp_path: Path) -> None:
    draw(tmp_path, "a/1.png")
    (tmp_path / "crops.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=sentence):
        read_dataset("list:crops.csv", tmp_path)


def test_a_pattern_reads_any_layout(tmp_path: Path) -> None:
    draw(
        tmp_path, "out/door/2026-05-04/anna-1.png", "out/hall/2026-05-05/anna-2.png", "out/hall/x/.hidden.png"
    )
    draw(tmp_path, "__MACOSX/out/door/2026-05-04/anna-1.png")
    words = r"(?P<camera>[^/]+)/(?P<captured_at>[^/]+)/(?P<identity>\w+)-\d"
    data = read_dataset("pattern:out", tmp_path, pattern=words)
    assert people(data, data.train) == [("anna", "door"), ("anna", "hall")]
    assert "door/2026-05-04/anna-1.png is person anna, camera door" in data.notes[0]
    words = r"(?P<part>train|query|gallery|bounding_box_test)/(?P<person>\d+)(?:_(?P<camera>\d+))?"
    draw(tmp_path, "sorted/train/1_1.png", "sorted/query/2_1.png", "sorted/bounding_box_test/2.png")
    data = read_dataset("pattern:sorted", tmp_path, pattern=words)
    assert people(data, data.gallery) == [("2", "0")] and people(data, data.query) == [("2", "1")]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("", "--pattern EXPRESSION is missing"),
        ("(", "is not a regular expression"),
        (r"(?P<pid>\d+)", "has a group 'pid'; groups are named person, identity, camera"),
        (r"(?P<camera>\d+)", "needs each group once, and person among them"),
        (r"(?P<person>\d+)_(?P<identity>\d+)", "needs each group once"),
        (r"/(?P<person>nobody)_", r"does not fit 1 images, such as a/1\.png"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: str, sentence: str, tmp_path: Path) -> None:
    draw(tmp_path, "a/1.png")
    with pytest.raises(DatasetError, match=sentence):
        read_dataset("pattern", tmp_path, pattern=pattern)
    with pytest.raises(DatasetError, match="is for the dataset pattern"):
        read_dataset("folders", tmp_path, pattern="(?P<person>.)")


def test_all_images_keep_people_of_different_parts_apart(tmp_path: Path) -> None:
    draw(
        tmp_path,
        *(f"{part}/{p}/c{c}_x.png" for part in ("train", "query", "gallery") for p in (1, 3) for c in "12"),
    )
    apart = read_training("folders", tmp_path, selection=ALL)
    assert [len({r.pid for r in apart.train}), len(apart.train)] == [4, 12]
    assert len({(r.path.parent.parent.name == "train", r.path.parent.name, r.pid) for r in apart.train}) == 4
    same = read_training("folders", tmp_path, selection=Selection(all_images=True, same_people=True))
    assert [len({r.pid for r in same.train}), len(same.train)] == [2, 12]


def test_all_images_of_classes_stay_classes(tmp_path: Path) -> None:
    draw(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "test/dog/2.png")
    data = read_training("classes", tmp_path, selection=ALL)
    assert sorted(r.pid for r in data.train) == [1, 1, 2, 2]


def test_people_with_one_image_are_left_out_by_a_switch_that_counts_them(tmp_path: Path) -> None:
    draw(tmp_path, "train/anna/1.png", "train/ben/1.png", "train/ben/2.png", "train/carl/1.png")
    with pytest.raises(
        DatasetError, match=r"2 people to train on have one image \(.*anna/1.*--leave-out-singles"
    ):
        read_training("folders", tmp_path)
    assert len(read_dataset("folders", tmp_path).train) == 4  # only training needs two
    data = read_training("folders", tmp_path, selection=Selection(leave_out_singles=True))
    assert people(data, data.train) == [("ben", "0"), ("ben", "0")]
    assert data.notes[-1] == "2 people with one image are left out of training"
    (tmp_path / "train/ben/2.png").unlink()
    with pytest.raises(DatasetError, match="nobody is left to train on"):
        read_training("folders", tmp_path, selection=Selection(leave_out_singles=True))


def test_unreadable_images_are_left_out_and_named(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{p}/{i}.png" for p in ("anna", "ben") for i in range(3)))
    (tmp_path / "train/anna/0.png").write_bytes(b"nothing")
    (tmp_path / "train/ben/1.png").write_bytes((tmp_path / "train/ben/0.png").read_bytes()[:60])
    (tmp_path / "train/ben/9.bmp").write_bytes(b"BM" + bytes(60))
    (tmp_path / "train/ben/gone.png").symlink_to(tmp_path / "nowhere.png")
    data = read_training("folders", tmp_path, selection=Selection(skip_unreadable=True))
    assert [r.path.name for r in data.train] == ["1.png", "2.png", "0.png", "2.png"]
    named = [note.split(": ")[1] for note in data.notes if note.startswith("left out of train")]
    assert named == [
        str(tmp_path / "train" / n) for n in ("anna/0.png", "ben/1.png", "ben/9.bmp", "ben/gone.png")
    ]
    joined = read_training("folders:.+folders:.", tmp_path, selection=Selection(skip_unreadable=True))
    assert len(joined.train) == 8 and sum("left out of train" in note for note in joined.notes) == 8
