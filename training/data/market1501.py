"""Market-1501 (methods B.1): pid -1 is junk and dropped, pid 0 is a distractor and stays in the gallery."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.records import Dataset, DatasetError, Record, list_images, require_counts, require_folder

COUNTS = {"train ids": 751, "train": 12_936, "query ids": 750, "query": 3_368, "gallery": 15_913}
_NAME = re.compile(r"(-?\d+)_c(\d)")


def read_market1501(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """Reads `root`, or the release folder inside it. `counts` replaces the published ones (tests on tiny fakes)."""
    if split:
        raise DatasetError(f"market1501 has one split, not {split + 1}")
    if not (root / "bounding_box_train").is_dir() and (root / "Market-1501-v15.09.15").is_dir():
        root = root / "Market-1501-v15.09.15"
    train, query, gallery = (
        [r for r in _read(require_folder(root / folder, "market1501")) if r.pid != -1]
        for folder in ("bounding_box_train", "query", "bounding_box_test")
    )
    found = {
        "train ids": len({r.pid for r in train}),
        "train": len(train),
        "query ids": len({r.pid for r in query}),
        "query": len(query),
        "gallery": len(gallery),
    }
    require_counts("market1501", found, COUNTS if counts is None else counts)
    return Dataset("market1501", train, query, gallery)


def _read(folder: Path) -> list[Record]:
    records = []
    for path in list_images(folder):
        match = _NAME.match(path.name)
        if match is None:
            raise DatasetError(f"market1501: {path} is not named like 0002_c1s1_000451_03.jpg")
        records.append(Record(path, int(match[1]), int(match[2]) - 1))
    return records
