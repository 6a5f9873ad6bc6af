"""MSMT17 (methods B.1), first release and second (faces blurred): image lists beside the folders."""

from __future__ import annotations

from pathlib import Path

from training.data.files import require_folder, unpacked
from training.data.market_style import count
from training.data.records import Dataset, DatasetError, Record, require_counts

FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
TRAIN_IDS = 1_041
COUNTS = {"train ids": TRAIN_IDS, "query": 11_659, "gallery": 82_161}
TRAIN = (32_621, 30_248)  # split 0 trains on list_train and list_val, as most do; split 1 on list_train alone


def read_msmt17(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """Split 0: train and val lists together, split 1: the train list alone.

    The camera is the third field of a file name (01..15). Test identities start at 0 again in the lists; here
    they follow the training ones, from 1,041 on, so that all images can be joined.
    """
    if split not in (0, 1):
        raise DatasetError(f"msmt17 has splits 0 (train and val) and 1 (train), not {split}")
    root = unpacked(root, ("MSMT17_V1", "MSMT17_V2"), [train for train, _ in FOLDERS])
    train_folder, test_folder = FOLDERS[(root / FOLDERS[1][0]).is_dir()]
    train = _read(root, "list_train.txt", train_folder, 0)
    if split == 0:
        train += _read(root, "list_val.txt", train_folder, 0)
    query, gallery = (
        _read(root, name, test_folder, TRAIN_IDS) for name in ("list_query.txt", "list_gallery.txt")
    )
    require_counts(
        "msmt17",
        count(train, query, gallery),
        {**COUNTS, "train": TRAIN[split]} if counts is None else counts,
    )
    return Dataset("msmt17", train, query, gallery)


def _read(root: Path, name: str, folder: str, offset: int) -> list[Record]:
    images, path = require_folder(root / folder, "msmt17"), root / name
    if not path.is_file():
        raise DatasetError(f"msmt17: {path} does not exist")
    records = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        file, _, pid = line.partition(" ")
        fields = file.rpartition("/")[2].split("_")
        if not pid.strip().isdigit() or len(fields) < 4 or not fields[2].isdigit():
            raise DatasetError(
                f"msmt17: {path}, line {number}: {line!r} is not like "
                "0000/0000_000_01_0303morning_0015_0.jpg 0"
            )
        if not (images / file).is_file():
            raise DatasetError(f"msmt17: {path}, line {number}: {images / file} does not exist")
        records.append(Record(images / file, int(pid) + offset, int(fields[2]) - 1))
    return records
