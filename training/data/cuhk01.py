"""CUHK01: 971 identities, two views of two images each, named PPPPIII.png in one folder `campus`."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import matched_images, unpacked
from training.data.records import Dataset, Record, require_counts
from training.data.splits import read_split

COUNTS = {"ids": 971, "images": 3_884}
_NAME = re.compile(r"(\d{4})(\d{3})$")


def read_cuhk01(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """Images 1 and 2 are view A (query), 3 and 4 view B (gallery).

    `split` 0..9 chooses the 486 test identities. The splits are ours (splits/cuhk01.json); the literature
    draws its own, unseeded.
    """
    folder = unpacked(root, "campus", ("*.png",))
    records = [
        Record(path, int(m[1]), int(int(m[2]) > 2))
        for path, m in matched_images("cuhk01", folder, _NAME, "0001001.png")
    ]
    counted = {"ids": len({r.pid for r in records}), "images": len(records)}
    require_counts("cuhk01", counted, COUNTS if counts is None else counts)
    order = sorted({r.pid for r in records})
    test = {order[i] for i in read_split("cuhk01", split) if i < len(order)}
    return Dataset(
        "cuhk01",
        train=[r for r in records if r.pid not in test],
        query=[r for r in records if r.pid in test and r.camid == 0],
        gallery=[r for r in records if r.pid in test and r.camid == 1],
    )
