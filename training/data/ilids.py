"""QMUL-iLIDS (methods B.2): 119 people with two to eight images each, and no cameras."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import matched_images, unpacked
from training.data.records import Dataset, Record, require_counts
from training.data.splits import read_split

COUNTS = {"ids": 119, "images": 476}
_NAME = re.compile(r"(\d{4})(\d{3})$")


def read_ilids(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """Sixty people are evaluated on, each with one query and one gallery image.

    The ten draws are ours (splits/ilids.json).
    """
    root = unpacked(root, ("i-LIDS_Pedestrian", "QMUL-iLIDS"), ("Persons", "images"))
    folder = root / "images" if (root / "images").is_dir() else root / "Persons"
    people: dict[int, list[Record]] = {}
    for path, match in matched_images("ilids", folder, _NAME, "0001001.jpg"):
        people.setdefault(int(match[1]), []).append(Record(path, int(match[1]), int(match[2]) - 1))
    counted = {"ids": len(people), "images": sum(map(len, people.values()))}
    require_counts("ilids", counted, COUNTS if counts is None else counts)
    order = sorted(people)
    query, gallery = [], []
    for index, first, second in read_split("ilids", split):
        if index < len(order):
            images = people.pop(order[index])
            # two shares of 0..1 draw two different images, however many there are
            query.append(images.pop(int(first * len(images))))
            if images:
                gallery.append(images[int(second * len(images))])
    train = [record for images in people.values() for record in images]
    return Dataset("ilids", train, query, gallery, ignore_camera=True)
