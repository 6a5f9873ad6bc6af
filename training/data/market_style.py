"""Datasets laid out as Market-1501: image names begin with identity and camera, 0002_c1s1_000451_03.jpg."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import matched_images
from training.data.records import Dataset, Record, require_counts

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
_NAME = re.compile(r"(-?\d+)_c(\d+)")


def read_market_style(name: str, root: Path, counts: dict[str, int]) -> Dataset:
    """Train, query and gallery of the three folders.

    Pid -1 is junk and dropped; a gallery pid without queries is a distractor.

    Args:
        counts: of the release: train ids, train, query ids, query, gallery.
    """
    train, query, gallery = ([r for r in _read(name, root / folder) if r.pid != -1] for folder in FOLDERS)
    require_counts(name, count(train, query, gallery), counts)
    return Dataset(name, train, query, gallery)


def count(train: list[Record], query: list[Record], gallery: list[Record]) -> dict[str, int]:
    """The numbers that papers print."""
    counts = {}
    for part, records in (("train", train), ("query", query), ("gallery", gallery)):
        counts[f"{part} ids"] = len({r.pid for r in records})
        counts[part] = len(records)
    return counts


def _read(name: str, folder: Path) -> list[Record]:
    return [
        Record(path, int(m[1]), int(m[2]) - 1)
        for path, m in matched_images(name, folder, _NAME, "0002_c1s1_000451_03.jpg")
    ]
