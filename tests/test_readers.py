"""Dataset readers on tiny fakes; the real counts where RESIGHT_DATA has the data."""

import os
from pathlib import Path

import pytest
from PIL import Image

from training.data import READERS, read_dataset
from training.data.folders import read_folders
from training.data.market1501 import COUNTS, read_market1501
from training.data.records import DatasetError


def image(path: Path) -> None:
    """A tiny picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 16)).save(path)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Two training people, one query, a gallery with a distractor and a junk crop."""
    names = {
        "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0007_c2s1_000001_01.jpg"],
        "query": ["0003_c1s1_000001_00.jpg"],
        "bounding_box_test": ["0003_c3s2_000002_01.jpg", "0000_c1s1_000003_01.jpg", "-1_c4s1_000004_01.jpg"],
    }
    for folder, files in names.items():
        for name in files:
            image(tmp_path / folder / name)
    return tmp_path


def test_market1501_drops_junk_and_keeps_distractors(market: Path) -> None:
    counts = {"train ids": 2, "train": 2, "query ids": 1, "query": 1, "gallery": 2}
    found = read_market1501(market, counts=counts)
    assert [(r.pid, r.camid) for r in found.train] == [(2, 0), (7, 1)]
    assert sorted((r.pid, r.camid) for r in found.gallery) == [(0, 0), (3, 2)]
    assert found.train_labels() == [0, 1]


def test_market1501_counts_are_checked(market: Path) -> None:
    with pytest.raises(DatasetError, match="train 2 instead of 12936"):
        read_market1501(market)


def test_a_strange_file_name_is_named(market: Path) -> None:
    image(market / "query" / "holiday.jpg")
    with pytest.raises(DatasetError, match=r"holiday\.jpg"):
        read_market1501(market)


def test_folders_of_people(tmp_path: Path) -> None:
    for name in (
        "train/anna/door_1.jpg",
        "train/anna/hall_1.jpg",
        "train/ben/door_9.jpg",
        "query/carl/door_1.jpg",
        "gallery/carl/hall_1.jpg",
    ):
        image(tmp_path / name)
    found = read_folders(tmp_path)
    assert [(r.pid, r.camid) for r in found.train] == [(1, 0), (1, 1), (2, 0)]
    assert [(r.pid, r.camid) for r in found.query + found.gallery] == [(3, 0), (3, 1)]


@pytest.mark.parametrize("name", READERS)
def test_a_missing_folder_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=str(tmp_path)):
        read_dataset(name, tmp_path / "nothing", 0)


def test_an_unknown_dataset_is_refused() -> None:
    with pytest.raises(DatasetError, match="market1501"):
        read_dataset("imagenet", Path("."), 0)


@pytest.mark.skipif("RESIGHT_DATA" not in os.environ, reason="RESIGHT_DATA is not set: no real data here")
def test_the_real_market1501_is_complete() -> None:
    found = read_market1501(Path(os.environ["RESIGHT_DATA"]))
    assert len(found.train) == COUNTS["train"]
    assert len(found.gallery) == 15_913
