"""PRID 2011, single shot (methods B.2): 200 people in both views, 549 more in view B."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import matched_images, unpacked
from training.data.records import Dataset, Record, require_counts
from training.data.splits import read_split

COUNTS = {"view a": 385, "view b": 749}
BOTH = 200  # people 1..200 are in both views
_NAME = re.compile(r"person_(\d{4})$")


def read_prid(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """A hundred of the people in both views have a query in view A.

    The gallery is view B of these people and of all who are only there. The ten splits are ours
    (splits/prid.json).
    """
    folder = unpacked(
        unpacked(root, "prid_2011", ("single_shot", "cam_a", "cam_b")), "single_shot", ("cam_a", "cam_b")
    )
    views: list[list[Record]] = []
    for camera, view in enumerate(("cam_a", "cam_b")):
        images = matched_images("prid", folder / view, _NAME, "person_0001.png")
        views.append([Record(path, int(match[1]), camera) for path, match in images])
    require_counts(
        "prid", {"view a": len(views[0]), "view b": len(views[1])}, COUNTS if counts is None else counts
    )
    test = {i + 1 for i in read_split("prid", split)}
    train = [r for view in views for r in view if r.pid <= BOTH and r.pid not in test]
    return Dataset(
        "prid",
        train,
        [r for r in views[0] if r.pid in test],
        [r for r in views[1] if r.pid in test or r.pid > BOTH],
    )
