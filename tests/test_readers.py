"""Dataset readers on tiny fakes; the real counts where RESIGHT_DATA has the data."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from training.data import READERS, read_dataset, sources_of
from training.data.folders import read_folders
from training.data.loader import load_crops
from training.data.make_splits import DRAWS, SIZES, draw, draw_ilids
from training.data.market1501 import COUNTS, read_market1501
from training.data.records import Dataset, DatasetError, Record
from training.data.splits import read_split
from training.data.unpack_cifar import unpack_cifar
from training.data.unpack_cuhk03 import unpack_cuhk03
from training.evaluate import embed_dataset, embed_splits, evaluate, score


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
        "train/ben/door_8.jpg",
        "train/ben/door_9.jpg",
        "query/carl/door_1.jpg",
        "gallery/carl/hall_1.jpg",
    ):
        image(tmp_path / name)
    found = read_folders(tmp_path)
    assert [(r.pid, r.camid) for r in found.train] == [(1, 0), (1, 1), (2, 0), (2, 0)]
    assert [(r.pid, r.camid) for r in found.query + found.gallery] == [(3, 0), (3, 1)]


@pytest.mark.parametrize("name", READERS)
def test_a_missing_folder_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=str(tmp_path)):
        read_dataset(name, tmp_path / "nothing", 0)


def test_an_unknown_dataset_is_refused() -> None:
    with pytest.raises(DatasetError, match="market1501"):
        read_dataset("imagenet", Path("."), 0)


FAKES = {  # name -> files, counts, and (pid, camera) of train, query and gallery in the first split
    "dukemtmc": (
        [
            "DukeMTMC-reID/bounding_box_train/0001_c2_f0046182.jpg",
            "DukeMTMC-reID/query/0005_c1_f0000001.jpg",
            "DukeMTMC-reID/bounding_box_test/0005_c8_f0000002.jpg",
            "DukeMTMC-reID/bounding_box_test/0009_c3_f0000003.jpg",
        ],
        {"train ids": 1, "train": 1, "query ids": 1, "query": 1, "gallery ids": 2, "gallery": 2},
        ([(1, 1)], [(5, 0)], [(5, 7), (9, 2)]),
    ),
    "cuhk02": (
        ["Dataset/P1/cam1/001_1.png", "Dataset/P1/cam2/001_2.png"]
        + [f"Dataset/P{p}/{c}/001_1.png" for p in (2, 3, 4, 5) for c in ("cam1", "cam2")],
        {"ids": 5, "images": 10},
        ([(1, 0), (1, 1), (2, 2), (2, 3), (3, 4), (3, 5), (4, 6), (4, 7), (5, 8), (5, 9)], [], []),
    ),
    "cuhksysu": (
        [
            "cuhksysu4reid/train/00012_s01_0000003_0.jpg",
            "cuhksysu4reid/query/00700_s05_0000001_0.jpg",
            "cuhksysu4reid/gallery/00700_s07_0000001_1.jpg",
        ],
        {"train ids": 1, "train": 1, "query": 1, "gallery ids": 1, "gallery": 1},
        ([(12, 0)], [(700, 0)], [(700, 0)]),
    ),
    "viper": (
        [
            f"VIPeR/{view}/{pid:03d}_{angle}.bmp"
            for pid in range(4)
            for view, angle in (("cam_a", 45), ("cam_b", 90))
        ],
        {"ids": 4, "images": 8},
        None,
    ),
    "prid": (
        [f"prid_2011/single_shot/cam_a/person_{pid:04d}.png" for pid in (1, 2, 3, 4, 300)]
        + [f"prid_2011/single_shot/cam_b/person_{pid:04d}.png" for pid in (1, 2, 3, 4, 700)],
        {"view a": 5, "view b": 5},
        None,
    ),
    "ilids": (
        [f"i-LIDS_Pedestrian/Persons/{pid:04d}{i:03d}.jpg" for pid in (3, 8, 9, 11) for i in (1, 2, 3)],
        {"ids": 4, "images": 12},
        None,
    ),
    "cuhk01": (
        [f"campus/{pid:04d}{i:03d}.png" for pid in (1, 2, 3, 4) for i in (1, 2, 3, 4)],
        {"ids": 4, "images": 16},
        None,
    ),
}


@pytest.mark.parametrize("name", FAKES)
def test_a_fake_of_every_layout(name: str, tmp_path: Path) -> None:
    files, counts, expected = FAKES[name]
    for file in files:
        image(tmp_path / file)
    found = READERS[name](tmp_path, 0, counts=counts)
    if expected is not None:
        assert (
            tuple(
                sorted((r.pid, r.camid) for r in part) for part in (found.train, found.query, found.gallery)
            )
            == expected
        )
    else:  # a seeded split: a part of the people asks, nobody is on both sides
        train, asked = {r.pid for r in found.train}, {r.pid for r in found.query}
        assert asked and not train & asked
        assert asked <= {r.pid for r in found.gallery}
        assert not set(found.query) & set(found.gallery)
        assert load_crops(found.query, 32, 16).shape == (len(found.query), 32, 16, 3)
        with pytest.raises(DatasetError, match="splits"):
            READERS[name](tmp_path, 99, counts=counts)
    with pytest.raises(DatasetError, match="instead of"):
        READERS[name](tmp_path)


def test_prid_keeps_those_of_view_b_alone_in_the_gallery(tmp_path: Path) -> None:
    files, counts, _ = FAKES["prid"]
    for file in files:
        image(tmp_path / file)
    found = READERS["prid"](tmp_path, 0, counts=counts)
    assert 700 in {r.pid for r in found.gallery}
    assert 300 not in {r.pid for part in (found.train, found.query, found.gallery) for r in part}


def test_cuhksysu_is_ranked_without_cameras(tmp_path: Path) -> None:
    files, counts, _ = FAKES["cuhksysu"]
    for file in files:
        image(tmp_path / file)
    found = READERS["cuhksysu"](tmp_path, counts=counts)
    unit = np.eye(1, 4, dtype=np.float32)
    scores = evaluate(lambda crops: np.repeat(unit, len(crops), 0), found, (32, 16))
    assert scores.rank(1) == 1.0


@pytest.mark.parametrize(
    ("folder", "name", "camera"),
    [("cropped_images", "p11422_s16929_1", 0), ("cropped_image", "p11422_n01_s16929_hard0", 16929)],
)
def test_all_crops_of_cuhksysu(folder: str, name: str, camera: int, tmp_path: Path) -> None:
    image(tmp_path / folder / f"{name}.jpg")
    found = READERS["cuhksysu"](tmp_path, counts={"train ids": 1, "train": 1})
    assert [(r.pid, r.camid) for r in found.train] == [(11422, camera)]


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt17_by_its_lists(train: str, test: str, tmp_path: Path) -> None:
    lists = {
        "list_train.txt": (train, ["0000/0000_000_01_0303morning_0015_0.jpg 0"]),
        "list_val.txt": (train, ["0000/0000_001_15_0303noon_0015_0.jpg 0"]),
        "list_query.txt": (test, ["0000/0000_000_02_0303morning_0015_0.jpg 0"]),
        "list_gallery.txt": (test, ["0000/0000_001_03_0303morning_0015_0.jpg 0"]),
    }
    for name, (folder, lines) in lists.items():
        (tmp_path / name).write_text("\n".join(lines))
        for line in lines:
            image(tmp_path / folder / line.split()[0])
    counts = {"train ids": 1, "train": 2, "query": 1, "gallery": 1}
    found = READERS["msmt17"](tmp_path, counts=counts)
    assert [(r.pid, r.camid) for r in (*found.train, *found.query, *found.gallery)] == [
        (0, 0),
        (0, 14),
        (1041, 1),
        (1041, 2),
    ]
    assert len(READERS["msmt17"](tmp_path, 1, counts=counts | {"train": 1}).train) == 1
    (tmp_path / "list_query.txt").write_text("0000/gone_000_02_0303morning_0015_0.jpg 0")
    with pytest.raises(DatasetError, match=r"list_query\.txt, line 1.*does not exist"):
        READERS["msmt17"](tmp_path, counts=counts)


def test_grid_by_its_own_partitions(tmp_path: Path) -> None:
    for folder, names in {
        "probe": ["0001_1_x", "0002_1_x"],
        "gallery": ["0000_1_x", "0001_2_x", "0002_2_x"],
    }.items():
        for name in names:
            image(tmp_path / "underground_reid" / folder / f"{name}.jpeg")
    cell = np.empty((1, 1), object)
    cell[0, 0] = {
        "idxProbe": [1],
        "idxGallery": [2],
        "trainIds": [1],
    }  # the release keeps the pids in the third field
    savemat(tmp_path / "underground_reid" / "features_and_partitions.mat", {"trainIdxAll": cell})
    counts = {"probe": 2, "gallery": 3}
    found = READERS["grid"](tmp_path, counts=counts)
    assert [(r.pid, r.camid) for r in found.train] == [(1, 0), (1, 1)]
    assert [(r.pid, r.camid) for r in (*found.query, *found.gallery)] == [(2, 0), (0, 1), (2, 1)]
    with pytest.raises(DatasetError, match="not 1"):
        READERS["grid"](tmp_path, 1, counts=counts)
    (tmp_path / "underground_reid" / "features_and_partitions.mat").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="features_and_partitions"):
        READERS["grid"](tmp_path, counts=counts)


def test_old_cuhk03_draws_one_gallery_image_a_person(tmp_path: Path) -> None:
    for pid in range(3):
        for camera in (0, 1):
            for i in range(2):
                image(tmp_path / "images" / f"{pid:08d}_{camera:02d}_{i:04d}.jpg")
    (tmp_path / "splits.json").write_text(json.dumps([{"query": [1, 2], "gallery": [1, 2], "trainval": [0]}]))
    found = READERS["cuhk03-old"](tmp_path, counts={"ids": 3, "images": 12})
    assert (len(found.train), len(found.query), len(found.gallery)) == (4, 4, 4)
    rng = np.random.default_rng(0)
    rows = iter(rng.normal(size=(8, 4)).astype(np.float32))
    embedded = embed_dataset(lambda crops: np.stack([next(rows) for _ in crops]), found, (32, 16))
    qp, gp, _, _ = embedded.labels
    best = []  # by hand: every draw ranks two gallery images, so rank-1 is whether the right one is nearer
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(4)
        kept = sorted(next(int(g) for g in order if gp[g] == pid) for pid in (2, 3))
        best += [
            gp[kept][np.argmax(row @ embedded.gallery[kept].T)] == pid
            for row, pid in zip(embedded.query, qp, strict=True)
        ]
    assert score(embedded).rank(1) == pytest.approx(np.mean(best))


def test_the_shipped_splits_are_what_their_script_draws() -> None:
    for name, (identities, test) in SIZES.items():
        for seed in range(DRAWS):
            drawn = draw_ilids(seed) if name == "ilids" else draw(identities, test, seed)
            assert read_split(name, seed) == drawn


def test_all_images_join_query_and_gallery_without_distractors(market: Path) -> None:
    found = read_market1501(
        market, counts={"train ids": 2, "train": 2, "query ids": 1, "query": 1, "gallery": 2}
    ).all_images()
    assert sorted(r.pid for r in found.train) == [2, 3, 3, 7]
    assert not found.query and not found.gallery


@pytest.mark.skipif("RESIGHT_DATA" not in os.environ, reason="RESIGHT_DATA is not set: no real data here")
def test_the_real_market1501_is_complete() -> None:
    found = read_market1501(Path(os.environ["RESIGHT_DATA"]))
    assert len(found.train) == COUNTS["train"]
    assert len(found.gallery) == 15_913


def cifar(folder: Path, meta: str, labels: int, files: list[str]) -> np.ndarray:
    """A binary release of six images a file, the class in the last label byte; returns the rows of the last
    file."""
    folder.mkdir()
    (folder / meta).write_text("cat\ndog\n")
    for number, file in enumerate(files):
        rows = np.random.default_rng(number).integers(0, 255, (6, labels + 3072), np.uint8)
        rows[:, labels - 1] = np.arange(6) % 2
        rows.tofile(folder / file)
    return rows


@pytest.mark.parametrize(
    ("meta", "labels", "files"),
    [
        ("batches.meta.txt", 1, [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]),
        ("fine_label_names.txt", 2, ["train.bin", "test.bin"]),
    ],
)
def test_cifar_is_laid_out_and_read(meta: str, labels: int, files: list[str], tmp_path: Path) -> None:
    rows = cifar(tmp_path / "release", meta, labels, files)
    assert unpack_cifar(tmp_path / "release", tmp_path / "root") == 6 * len(files)
    found = read_dataset("classes", tmp_path / "root")
    assert (
        len(found.train) == 6 * (len(files) - 1)
        and len(found.query) == 6
        and found.gallery == found.train
        and found.ignore_camera
    )
    assert [r.pid for r in found.query] == [1, 1, 1, 2, 2, 2] and found.query[3].path.parent.name == "dog"
    red = np.asarray(Image.open(found.query[3].path))[..., 0]  # the second row of the file is the first dog
    assert (red.ravel() == rows[1, labels : labels + 1024]).all()


def test_classes_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="binary release"):
        unpack_cifar(tmp_path, tmp_path / "root")
    cifar(tmp_path / "release", "fine_label_names.txt", 2, ["train.bin"])
    with pytest.raises(DatasetError, match=r"test\.bin is missing"):
        unpack_cifar(tmp_path / "release", tmp_path / "root")
    (tmp_path / "root" / "test").mkdir()
    with pytest.raises(DatasetError, match="look at cat"):
        read_dataset("classes", tmp_path / "root")


def cuhk03(folder: Path) -> np.ndarray:
    """A release of two pairs with two and one people, in MATLAB's order; returns pixels by (kind, pair,
    person, place).

    Of ten pictures each, the labeled ones lack the last of view 1, the detected ones the third of view 2.
    """
    pixels = np.random.default_rng(0).integers(0, 255, (2, 2, 2, 10, 6, 4, 3), np.uint8)
    folder.mkdir()
    with h5py.File(folder / "cuhk-03.mat", "w") as file:
        cells = file.create_group("#refs#")
        for k, kind in enumerate(("detected", "labeled")):
            pairs = []
            for pair, people in enumerate((2, 1)):
                grid = np.empty((10, people), h5py.ref_dtype)
                for place in range(10):
                    for person in range(people):
                        gap = place == (7 if kind == "detected" else 4)
                        data = (
                            np.array([0, 0], np.uint64)
                            if gap
                            else pixels[k, pair, person, place].transpose(2, 1, 0)
                        )
                        grid[place, person] = cells.create_dataset(
                            f"{kind}{pair}{place}{person}", data=data
                        ).ref
                pairs.append(cells.create_dataset(f"{kind}{pair}", data=grid, dtype=h5py.ref_dtype).ref)
            file.create_dataset(kind, data=np.array([pairs], h5py.ref_dtype), dtype=h5py.ref_dtype)
        tests = cells.create_dataset(
            "test", data=np.array([[1, 2], [2, 1]], float).T
        )  # person 2 of pair 1, person 1 of pair 2
        file.create_dataset("testsets", data=np.array([[tests.ref]], h5py.ref_dtype), dtype=h5py.ref_dtype)
    return pixels


def test_cuhk03_is_unpacked_and_read(tmp_path: Path) -> None:
    pixels = cuhk03(tmp_path / "release")
    names = np.empty((4, 1), object)
    names[:, 0] = ["1_001_1_01.png", "1_001_2_10.png", "2_001_1_02.png", "2_001_2_06.png"]
    config = {"filelist": names, "labels": [[1], [1], [3], [3]], "camId": [[1], [2], [1], [2]]}
    config |= {"train_idx": [[1], [2]], "query_idx": [[3]], "gallery_idx": [[4]]}
    savemat(tmp_path / "release" / "cuhk03_new_protocol_config_labeled.mat", config)
    assert unpack_cuhk03(tmp_path / "release", tmp_path / "root") == {
        "cuhk03-old": 3 * (4 + 5 + 5 + 2),
        "cuhk03-np/labeled": 4,
    }
    new = READERS["cuhk03"](tmp_path / "root", 1, counts={})
    assert [(r.pid, r.camid) for r in (*new.train, *new.query, *new.gallery)] == [
        (1, 0),
        (1, 1),
        (3, 0),
        (3, 1),
    ]
    assert (np.asarray(Image.open(new.train[1].path)) == pixels[1, 0, 0, 9]).all()
    assert (np.asarray(Image.open(new.gallery[0].path)) == pixels[1, 1, 0, 5]).all()
    old = READERS["cuhk03-old"](tmp_path / "root", counts={"ids": 3, "images": 48})
    assert {r.pid for r in old.train} == {1} and {r.pid for r in old.query} == {2, 3}
    ranked = [
        r.path for r in old.query if r.pid == 3
    ]  # person 1 of pair 2, view 1: four labeled, then five detected
    assert (np.asarray(Image.open(ranked[0])) == pixels[1, 1, 0, 0]).all()
    assert (np.asarray(Image.open(ranked[4])) == pixels[0, 1, 0, 0]).all()


def test_a_cuhk03_release_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no cuhk-03\.mat"):
        unpack_cuhk03(tmp_path, tmp_path / "root")
    (tmp_path / "cuhk-03.mat").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"cuhk-03\.mat cannot be unpacked"):
        unpack_cuhk03(tmp_path, tmp_path / "root")
    cuhk03(tmp_path / "release")
    names = np.empty((1, 1), object)
    names[0, 0] = "1_001_1_05.png"  # a gap of the labeled ones
    savemat(
        tmp_path / "release" / "cuhk03_new_protocol_config_labeled.mat",
        {
            "filelist": names,
            "labels": [[1]],
            "camId": [[1]],
            "train_idx": [[1]],
            "query_idx": [[1]],
            "gallery_idx": [[1]],
        },
    )
    with pytest.raises(DatasetError, match="1_001_1_05"):
        unpack_cuhk03(tmp_path / "release", tmp_path / "root")


def test_a_range_of_folders_is_joined_in_order() -> None:
    assert sources_of("world:a/site-8..10+viper") == [
        "world:a/site-8",
        "world:a/site-9",
        "world:a/site-10",
        "viper",
    ]
    assert sources_of("folders:2..2") == ["folders:2"]
    with pytest.raises(DatasetError, match=r"world:site-3..1: put the smaller number first"):
        sources_of("world:site-3..1")


def test_an_image_of_several_splits_is_embedded_once(tmp_path: Path) -> None:
    records = [Record(tmp_path / f"{i}.png", 1 + i // 2, i % 2) for i in range(8)]
    for i, record in enumerate(records):
        Image.new("RGB", (8, 16), (30 * i, 0, 0)).save(record.path)
    splits = [
        Dataset("x", [], records[0:6:2], records[1:6:2]),
        Dataset("x", [], records[7:2:-2], records[6:1:-2]),
    ]
    seen = []

    def embed(crops: np.ndarray) -> np.ndarray:
        seen.extend(crops[:, 0, 0, 0].tolist())
        return np.stack([crops[:, 0, 0, 0], np.full(len(crops), 99)], axis=1).astype(np.float32)

    each = embed_splits(embed, splits, (16, 8))
    assert sorted(seen) == [30 * i for i in range(8)]
    for split, embedded in zip(splits, each, strict=True):
        alone = embed_dataset(embed, split, (16, 8))
        assert np.array_equal(embedded.query, alone.query)
        assert np.array_equal(embedded.gallery, alone.gallery)
        assert np.array_equal(embedded.labels[0], alone.labels[0])
