"""CUHK02 (methods B.1): five pairs of cameras, four images a person. To learn from only; its first pair
overlaps CUHK01."""

from __future__ import annotations

from pathlib import Path

from training.data.records import (
    Dataset,
    Record,
    list_images,
    one_split,
    require_counts,
    require_folder,
    unpacked,
)

COUNTS = {"ids": 1_816, "images": 7_264}
PAIRS = ("P1", "P2", "P3", "P4", "P5")


def read_cuhk02(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """Identities are numbered within their pair in the files, and through all pairs here, from 1."""
    one_split("cuhk02", split)
    root = unpacked(root, "Dataset")
    found: list[tuple[tuple[int, str], Path, int]] = []
    for p, pair in enumerate(PAIRS):
        for c, view in enumerate(("cam1", "cam2")):
            images = list_images(require_folder(root / pair / view, "cuhk02"))
            found += [((p, path.name.split("_")[0]), path, 2 * p + c) for path in images]
    pids = {key: i for i, key in enumerate(sorted({key for key, _, _ in found}), 1)}
    require_counts("cuhk02", {"ids": len(pids), "images": len(found)}, COUNTS if counts is None else counts)
    return Dataset("cuhk02", [Record(path, pids[key], camera) for key, path, camera in found], [], [])
