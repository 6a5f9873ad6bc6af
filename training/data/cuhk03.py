"""CUHK03 (methods B.1) by the new protocol (767/700) or the old one (1,367/100, single shot).

Their numbers cannot be compared with each other.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from training.data.files import matched_images, require_folder, unpacked
from training.data.market_style import read_market_style
from training.data.records import Dataset, DatasetError, Record, require_counts

KINDS = ("detected", "labeled")  # split 0 and split 1
COUNTS = {
    "detected": {"train ids": 767, "train": 7_365, "query": 1_400, "gallery": 5_332},
    "labeled": {"train ids": 767, "train": 7_368, "query": 1_400, "gallery": 5_328},
}
# detected and labeled crops together, as open-reid and M3L use them
OLD_COUNTS = {"ids": 1_467, "images": 28_192}
_OLD_NAME = re.compile(r"(\d{8})_(\d{2})_(\d{4})$")


def read_cuhk03(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """The new protocol, cuhk03-np/{detected,labeled}: `split` 0 reads detected crops, 1 labeled ones."""
    if split not in (0, 1):
        raise DatasetError(f"cuhk03 has splits 0 (detected) and 1 (labeled), not {split}")
    kind = KINDS[split]
    folder = require_folder(unpacked(root, "cuhk03-np", KINDS) / kind, "cuhk03")
    return read_market_style(f"cuhk03-{kind}", folder, COUNTS[kind] if counts is None else counts)


def read_cuhk03_old(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """The old protocol in open-reid's form: images/PPPPPPPP_CC_NNNN.jpg (or .png) and splits.json.

    There are 20 splits. Queries are from view 0; of view 1 the gallery holds one image of each person, drawn
    again in each of ten repetitions (`single_shot`).
    """
    root = unpacked(root, "cuhk03-old", ("images",))
    images = matched_images("cuhk03-old", root / "images", _OLD_NAME, "00000001_00_0000.jpg")
    path = root / "splits.json"
    records = [Record(file, int(m[1]) + 1, int(m[2])) for file, m in images]
    counted = {"ids": len({r.pid for r in records}), "images": len(records)}
    require_counts("cuhk03-old", counted, OLD_COUNTS if counts is None else counts)
    try:
        splits = json.loads(path.read_text())
        test = {int(pid) + 1 for pid in splits[split]["query"]}
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DatasetError(f"cuhk03-old: {path} has no split {split} with a list `query`: {error}") from error
    tested = [r for r in records if r.pid in test]
    train = [r for r in records if r.pid not in test]
    return Dataset(
        "cuhk03-old",
        train,
        [r for r in tested if r.camid == 0],
        [r for r in tested if r.camid == 1],
        single_shot=True,
    )
