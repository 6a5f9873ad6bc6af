"""QMUL-iLIDS (methods B.2): 119 people, two to eight images each, named by person and number; no cameras."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.records import Dataset, Record, matched_images, require_counts, unpacked
from training.data.splits import read_split

COUNTS = {"ids": 119, "images": 476}
_NAME = re.compile(r"(\d{4})(\d{3})$")


def read_ilids(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """Sixty people are asked for, each by one image with one other in the gallery; the ten draws are ours
    (splits/ilids.json)."""
    root = unpacked(unpacked(root, "i-LIDS_Pedestrian"), "QMUL-iLIDS")
    folder = root / "Persons" if (root / "Persons").is_dir() else root / "images"
    people: dict[int, list[Record]] = {}
    for path, match in matched_images("ilids", folder, _NAME, "0001001.jpg"):
        people.setdefault(int(match[1]), []).append(Record(path, int(match[1]), int(match[2]) - 1))
    found = {"ids": len(people), "images": sum(map(len, people.values()))}
    require_counts("ilids", found, COUNTS if counts is None else counts)
    order = sorted(people)
    query, gallery = [], []
    for index, first, second in read_split("ilids", split):
        if index < len(order):
            own = people.pop(order[index])
            asked = own.pop(
                int(first * len(own))
            )  # two shares of 0..1 draw two different images, however many there are
            query.append(asked)
            gallery += [own[int(second * len(own))]] if own else []
    return Dataset("ilids", [r for own in people.values() for r in own], query, gallery, ignore_camera=True)
