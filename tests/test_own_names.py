"""Names of people's own data: what is a person, what a camera, what a file that is no data at all."""

from pathlib import Path

import pytest
from PIL import Image

from training.data import read_dataset
from training.data.camera_names import cameras_of
from training.data.files import unread_files
from training.data.folders import read_folders
from training.data.records import DatasetError


def draw(root: Path, *names: str) -> None:
    """Tiny pictures under `root`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 16)).save(root / name, "PNG")


def cameras(*names: str) -> list[str]:
    """The cameras of PERSON/FILE names."""
    return cameras_of([(name.split("/")[0], Path("train", name)) for name in names])[0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0101/0101_c1s1_a.jpg", "0101/0101_c2s1_a.jpg", "0102/0102_c1s3_a.jpg"], ["c1", "c2", "c1"]),
        (["101/0101_c1_f1.jpg", "102/0102_c2_f1.jpg"], ["c1", "c2"]),
        (["anna/anna_door_1.jpg", "anna/Anna_hall_1.jpg", "ben/ben_door_1.jpg"], ["door", "hall", "door"]),
        (["de_la_cruz/de_la_cruz_door_1.jpg", "ben/ben_hall_1.jpg"], ["door", "hall"]),
        (["anna/77_c1s1_a.jpg", "anna/77_c2s1_a.jpg", "ben/78_c1s2_a.jpg"], ["c1", "c2", "c1"]),
        (["anna/door_1.jpg", "anna/hall_1.jpg", "ben/door_1.jpg"], ["door", "hall", "door"]),
        (["anna/c1s1_1.jpg", "anna/c1s2_1.jpg", "ben/c2s1_1.jpg"], ["c1", "c1", "c2"]),
        (["1/1_a.jpg", "1/2_a.jpg", "2/1_a.jpg", "2/2_a.jpg", "3/1_a.jpg"], ["1", "2", "1", "2", "1"]),
        (["anna/1.jpg", "anna/2.jpg", "ben/1.jpg"], ["0", "0", "0"]),
        (["anna/anna_1.jpg", "anna/anna_2.jpg", "ben/ben_1.jpg", "ben/ben.jpg"], ["0", "0", "0", "0"]),
        (["anna/IMG_1.jpg", "anna/IMG_2.jpg", "ben/IMG_7.jpg"], ["IMG", "IMG", "IMG"]),
    ],
)
def test_person_first_and_camera_first_names_are_told_apart(names: list[str], expected: list[str]) -> None:
    assert cameras(*names) == expected


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["anna/77_door_a.jpg", "anna/77_hall_a.jpg", "ben/78_door_a.jpg"], "'77' can be the person or"),
        (["anna/anna_door_1.jpg", "ben/door_1.jpg"], "anna_door_1.jpg begins with the name of its folder"),
        (["anna/20260504_101010.jpg", "ben/20260504_111111.jpg"], "20260504 .* looks like a date"),
        ([f"anna/{i:06d}_01.jpg" for i in range(5)], "look like numbers of pictures"),
        ([f"{p:04d}/{p:04d}_{i:03d}_01_x.jpg" for p in (1, 2) for i in range(17)], "look like numbers of"),
    ],
)
def test_names_that_leave_the_camera_open_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence + ".*--pattern"):
        cameras(*names)


def test_person_first_names_train_on_people_and_real_cameras(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{p}/{p}_c{c}s1_x.png" for p in ("0101", "0102") for c in (1, 2)))
    data = read_folders(tmp_path)
    assert [(r.pid, r.camid) for r in data.train] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert (data.people, data.cameras) == (("0101", "0102"), ("c1", "c2"))
    assert "0101_c1s1_x.png is person 0101, camera c1" in data.notes[0]


CLUTTER = (
    "train/anna/._door_1.png",
    "train/anna/.hidden.png",
    "train/anna/.ipynb_checkpoints/door_1-checkpoint.png",
    "train/.ipynb_checkpoints/door_1.png",
    "train/__MACOSX/anna/door_1.png",
    "train/@eaDir/door_1.png",
    "__MACOSX/train/anna/._door_1.png",
)


def test_what_programs_leave_in_folders_is_no_data(tmp_path: Path) -> None:
    draw(tmp_path, "train/anna/door_1.png", "train/anna/hall_1.png", "train/ben/door_1.png", *CLUTTER)
    (tmp_path / "train" / "notes.txt").write_text("on the people")
    data = read_folders(tmp_path)
    assert [r.path.parent.name for r in data.train] == ["anna", "anna", "ben"]
    assert len(read_dataset("unlabeled", tmp_path).train) == 3
    assert unread_files(tmp_path, [r.path for r in data.train]) == ([], {".txt": 1})
    draw(tmp_path, "test/anna/door_1.png", "test/ben/door_1.png", "test/.cache/door_1.png")
    assert len(read_dataset("classes", tmp_path).query) == 2


@pytest.mark.parametrize(
    ("name", "files", "lost"),
    [
        ("folders", ["train/anna/door_1.png", "train/ben/door/1.png"], "train/ben/door/1.png"),
        ("folders", ["train/anna/door_1.png", "train/ben_door_1.png"], "train/ben_door_1.png"),
        (
            "market-style",
            ["bounding_box_train/1_c1_x.png", "bounding_box_train/2/2_c1_x.png"],
            "2/2_c1_x.png",
        ),
        ("classes", ["train/cat/1.png", "test/cat/1.png", "train/cat/more/2.png"], "train/cat/more/2.png"),
    ],
)
def test_an_image_that_the_layout_does_not_reach_is_not_lost_in_silence(
    name: str, files: list[str], lost: str, tmp_path: Path
) -> None:
    draw(tmp_path, *files)
    with pytest.raises(DatasetError, match=f"{lost} does not lie where this layout has its images"):
        read_dataset(name, tmp_path)


def test_a_dataset_may_lie_in_a_hidden_folder_and_be_linked(tmp_path: Path) -> None:
    draw(tmp_path, ".cache/data/a/door_1.png")
    (tmp_path / ".cache" / "data" / "a" / "loop").symlink_to(tmp_path / ".cache" / "data")
    (tmp_path / "link").symlink_to(tmp_path / ".cache" / "data")
    assert len(read_dataset("unlabeled", tmp_path / "link").train) == 1
    (tmp_path / "link" / "a" / "gone.png").symlink_to(tmp_path / "nowhere")  # named where it is opened
    assert len(read_dataset("unlabeled", tmp_path / "link").train) == 2


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("market1501", "Market-1501-v15.09.15/bounding_box_train"),
        ("dukemtmc", "DukeMTMC-reID/bounding_box_train"),
        ("cuhk01", "campus"),
        ("cuhk02", "Dataset/P1/cam1"),
        ("viper", "VIPeR/cam_a"),
        ("grid", "underground_reid/probe"),
        ("prid", "prid_2011/single_shot/cam_a"),
        ("msmt17", "MSMT17_V1/train"),
        ("ilids", "i-LIDS_Pedestrian/Persons"),
    ],
)
def test_a_missing_release_is_named_as_the_documentation_shows_it(
    name: str, release: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=f"folder {tmp_path / release} does not exist"):
        read_dataset(name, tmp_path)
