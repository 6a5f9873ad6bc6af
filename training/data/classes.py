"""Image classification as retrieval: one folder a class, CIFAR's for one (`unpack_cifar.py`). PTL's paper has
it (its Table VII).

    root/train/<class>/*.png
    root/test/<class>/*.png

The test images ask and the training images answer, so rank-1 is the accuracy of the nearest training image.
There are no cameras.
"""

from __future__ import annotations

from pathlib import Path

from training.data.records import Dataset, DatasetError, Record, list_images, one_split, require_folder


def read_classes(root: Path, split: int = 0) -> Dataset:
    """Reads the layout above. Classes are numbered from 1 in sorted order of their names; both folders must
    have the same ones."""
    one_split("classes", split)
    names = {
        part: sorted(p.name for p in require_folder(root / part, "classes").iterdir() if p.is_dir())
        for part in ("train", "test")
    }
    if names["train"] != names["test"] or not names["train"]:
        differ = sorted(set(names["train"]) ^ set(names["test"])) or ["no class at all"]
        raise DatasetError(
            f"classes: {root / 'train'} and {root / 'test'} need the same folders, one a class; look at "
            f"{differ[0]}"
        )
    train, test = (
        [
            Record(path, pid, 0)
            for pid, name in enumerate(names["train"], 1)
            for path in list_images(root / part / name)
        ]
        for part in ("train", "test")
    )
    return Dataset("classes", train, test, train, ignore_camera=True)
