"""CUHK03 in its new protocol (767/700), folder form: cuhk03-np/{detected,labeled}/..., named as Market-1501."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.records import Dataset, DatasetError, Record, list_images, require_counts, require_folder

KINDS = ("detected", "labeled")  # split 0 and split 1
COUNTS = {
    "detected": {"train ids": 767, "train": 7_365, "query": 1_400, "gallery": 5_332},
    "labeled": {"train ids": 767, "train": 7_368, "query": 1_400, "gallery": 5_328},
}
_NAME = re.compile(r"(\d+)_c(\d)")


def read_cuhk03(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """`split` 0 reads the detected crops, 1 the hand-labeled ones. The old 20-split protocol is another world (methods B.1)."""
    if split not in (0, 1):
        raise DatasetError(f"cuhk03 has splits 0 (detected) and 1 (labeled), not {split}")
    kind = KINDS[split]
    root = root / "cuhk03-np" if (root / "cuhk03-np").is_dir() else root
    folder = require_folder(root / kind, "cuhk03")
    train, query, gallery = (
        _read(require_folder(folder / part, "cuhk03")) for part in ("bounding_box_train", "query", "bounding_box_test")
    )
    found = {"train ids": len({r.pid for r in train}), "train": len(train), "query": len(query), "gallery": len(gallery)}
    require_counts(f"cuhk03 {kind}", found, COUNTS[kind] if counts is None else counts)
    return Dataset(f"cuhk03-{kind}", train, query, gallery)


def _read(folder: Path) -> list[Record]:
    records = []
    for path in list_images(folder):
        match = _NAME.match(path.name)
        if match is None:
            raise DatasetError(f"cuhk03: {path} is not named like 0001_c1_1.png")
        records.append(Record(path, int(match[1]), int(match[2]) - 1))
    return records
