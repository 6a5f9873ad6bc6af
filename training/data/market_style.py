"""Datasets laid out as Market-1501: image names begin with identity and camera, 0002_c1s1_000451_03.jpg."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import matched_images, require_all_read, require_folder
from training.data.labelled import PARTS, LabelledCrop, numbered, numbered_people
from training.data.records import Dataset, DatasetError, Record, one_split, require_counts

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
_NAME = re.compile(r"(-?\d+)_c(\d+)")
_OWN_NAME = re.compile(r"(.+?)_c(\d+)(?![^\W_s])", re.IGNORECASE)


def read_market_style(name: str, root: Path, counts: dict[str, int]) -> Dataset:
    """Train, query and gallery of the three folders.

    Pid -1 is junk and dropped; a gallery pid without queries is a distractor.

    Args:
        counts: of the release: train ids, train, query ids, query, gallery.
    """
    train, query, gallery = ([r for r in _read(name, root / folder) if r.pid != -1] for folder in FOLDERS)
    require_counts(name, count(train, query, gallery), counts)
    return Dataset(name, train, query, gallery)


def read_own_market_style(root: Path, split: int = 0) -> Dataset:
    """People's own data in this layout, `market-style:FOLDER`: any counts, any names of people and cameras.

    Train alone, query and gallery alone, or all three; 0002 and 2 are the same person. Identity -1 is junk
    and dropped, 0 a distractor where nobody of that number is trained on or asked for.
    """
    one_split("market-style", split)
    require_folder(root, "market-style")
    folders = {part: root / folder for part, folder in zip(PARTS, FOLDERS, strict=True)}
    if not any(folder.is_dir() for folder in folders.values()):
        raise DatasetError(f"market-style: {root} holds none of {', '.join(FOLDERS)}")
    crops = []
    for part, folder in folders.items():
        for path, m in _named(folder) if folder.is_dir() else []:
            crops.append(LabelledCrop(path, part, m[1], f"c{int(m[2])}"))
        if folder.is_dir():
            require_all_read(
                "market-style", folder, [crop.path for crop in crops], f"right in {folder.name}/"
            )
    people, junk = numbered_people(crops)
    return numbered("market-style", people, [f"{junk} junk crops (identity -1) are left out"] if junk else [])


def _named(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    return matched_images(
        "market-style", folder, _OWN_NAME, "PERSON_cCAMERA_anything.jpg, as 0002_c1s1_000451.jpg"
    )


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
