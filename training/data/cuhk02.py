"""CUHK02 (methods B.1), to train on only: five pairs of cameras, four images of each person.

Its first pair overlaps CUHK01.
"""

from __future__ import annotations

from pathlib import Path

from training.data.files import list_images, require_folder, unpacked
from training.data.records import Dataset, Record, one_split, require_counts

COUNTS = {"ids": 1_816, "images": 7_264}
PAIRS = ("P1", "P2", "P3", "P4", "P5")


def read_cuhk02(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """Identities are numbered within their pair in the files, and through all pairs here, from 1."""
    one_split("cuhk02", split)
    root = unpacked(root, "Dataset", PAIRS)
    images: list[tuple[tuple[int, str], Path, int]] = []
    for p, pair in enumerate(PAIRS):
        for c, view in enumerate(("cam1", "cam2")):
            for path in list_images(require_folder(root / pair / view, "cuhk02")):
                images.append(((p, path.name.split("_")[0]), path, 2 * p + c))
    pids = {key: i for i, key in enumerate(sorted({key for key, _, _ in images}), 1)}
    require_counts("cuhk02", {"ids": len(pids), "images": len(images)}, COUNTS if counts is None else counts)
    return Dataset("cuhk02", [Record(path, pids[key], camera) for key, path, camera in images], [], [])
