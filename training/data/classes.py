"""Image classification as retrieval, with one folder for each class (PTL's paper, Table VII).

    root/train/<class>/*.png
    root/test/<class>/*.png

The test images are the queries and the training images the gallery, so rank-1 is the accuracy of the nearest
training image. There are no cameras. `unpack_cifar.py` writes CIFAR in this layout.
"""

from __future__ import annotations

from pathlib import Path

from training.data.files import list_folders, list_images, require_all_read, require_folder
from training.data.records import Dataset, DatasetError, Record, one_split


def read_classes(root: Path, split: int = 0) -> Dataset:
    """Reads the layout above, with classes numbered from 1 in the order of their names.

    Raises DatasetError unless both folders hold the same classes.
    """
    one_split("classes", split)
    names = {
        part: [p.name for p in list_folders(require_folder(root / part, "classes"))]
        for part in ("train", "test")
    }
    if names["train"] != names["test"] or not names["train"]:
        differ = sorted(set(names["train"]) ^ set(names["test"])) or ["no class at all"]
        raise DatasetError(
            f"classes: {root / 'train'} and {root / 'test'} need the same folders, "
            f"one for each class; look at {differ[0]}"
        )
    train, test = _records(root / "train", names["train"]), _records(root / "test", names["test"])
    return Dataset("classes", train, test, train, ignore_camera=True, same_classes=True)


def _records(folder: Path, names: list[str]) -> list[Record]:
    records: list[Record] = []
    for pid, name in enumerate(names, 1):
        records += [Record(path, pid, 0) for path in list_images(folder / name)]
    require_all_read("classes", folder, [record.path for record in records], f"{folder.name}/CLASS/*.png")
    return records
