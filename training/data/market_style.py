"""Datasets laid out as Market-1501: folders of images whose names begin with identity and camera, like 0002_c1s1_000451_03.jpg."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.records import Dataset, DatasetError, Record, list_images, require_counts, require_folder

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
_NAME = re.compile(r"(-?\d+)_c(\d+)")


def read_market_style(name: str, root: Path, counts: dict[str, int]) -> Dataset:
    """Train, query and gallery of the three folders. Pid -1 is junk and dropped, a gallery pid without queries is a distractor.

    Args:
        counts: what the release holds, of: train ids, train, query ids, query, gallery.
    """
    train, query, gallery = ([r for r in _read(name, require_folder(root / folder, name)) if r.pid != -1] for folder in FOLDERS)
    require_counts(name, count(train, query, gallery), counts)
    return Dataset(name, train, query, gallery)


def count(train: list[Record], query: list[Record], gallery: list[Record]) -> dict[str, int]:
    """The numbers that papers print."""
    found = {"train ids": len({r.pid for r in train}), "train": len(train)}
    found |= {"query ids": len({r.pid for r in query}), "query": len(query)}
    return found | {"gallery ids": len({r.pid for r in gallery}), "gallery": len(gallery)}


def _read(name: str, folder: Path) -> list[Record]:
    records = []
    for path in list_images(folder):
        match = _NAME.match(path.name)
        if match is None:
            raise DatasetError(f"{name}: {path} is not named like 0002_c1s1_000451_03.jpg")
        records.append(Record(path, int(match[1]), int(match[2]) - 1))
    return records
