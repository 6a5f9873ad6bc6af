"""QMUL GRID (methods B.2): 250 people in two views of an underground station.

The second view has 775 images of other people.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import matched_images, unpacked
from training.data.records import Dataset, DatasetError, Record, require_counts

COUNTS = {"probe": 250, "gallery": 1_025}
_NAME = re.compile(r"(\d+)_")
PARTITIONS = "features_and_partitions.mat"


def read_grid(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """The ten official partitions, read from the release: 125 people to train on, 125 as queries."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    root = unpacked(root, "underground_reid", ("probe", "gallery"))
    probe, gallery = (_read(root / part, camera) for camera, part in enumerate(("probe", "gallery")))
    require_counts(
        "grid", {"probe": len(probe), "gallery": len(gallery)}, COUNTS if counts is None else counts
    )
    path = root / PARTITIONS
    try:
        partitions = loadmat(str(path))["trainIdxAll"][0]
        if not 0 <= split < len(partitions):
            raise DatasetError(f"grid has splits 0..{len(partitions) - 1}, not {split}")
        train_pids = {int(pid) for pid in partitions[split][0][0][2][0]}
    except (MatReadError, OSError, KeyError, IndexError, ValueError, TypeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"grid: {path} is not the partitions of the release: {error}") from error
    train = [r for r in (*probe, *gallery) if r.pid in train_pids]
    return Dataset(
        "grid",
        train,
        [r for r in probe if r.pid not in train_pids],
        [r for r in gallery if r.pid not in train_pids],
    )


def _read(folder: Path, camera: int) -> list[Record]:
    return [
        Record(p, int(m[1]), camera)
        for p, m in matched_images("grid", folder, _NAME, "0001_1_25004_107_32_106_221.jpeg")
    ]
