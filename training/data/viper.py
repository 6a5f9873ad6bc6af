"""VIPeR (methods B.2): 632 people, one image in each of two views."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import matched_images, unpacked
from training.data.records import Dataset, Record, require_counts
from training.data.splits import read_split

COUNTS = {"ids": 632, "images": 1_264}
_NAME = re.compile(r"(\d+)_")


def read_viper(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """View A is the query, view B the gallery; the ten splits of half the people are ours (viper.json)."""
    root = unpacked(root, "VIPeR", ("cam_a", "cam_b"))
    records = []
    for camera, view in enumerate(("cam_a", "cam_b")):
        for path, match in matched_images("viper", root / view, _NAME, "000_45.bmp"):
            # their pid 0 is a person, while 0 is a distractor here
            records.append(Record(path, int(match[1]) + 1, camera))
    require_counts(
        "viper",
        {"ids": len({r.pid for r in records}), "images": len(records)},
        COUNTS if counts is None else counts,
    )
    order = sorted({r.pid for r in records})
    test = {order[i] for i in read_split("viper", split) if i < len(order)}
    train = [r for r in records if r.pid not in test]
    query, gallery = ([r for r in records if r.pid in test and r.camid == camera] for camera in (0, 1))
    return Dataset("viper", train, query, gallery)
