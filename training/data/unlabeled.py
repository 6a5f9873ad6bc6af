"""Crops without labels, to distill on: every image of a folder and of the folders inside it.

    root/anything/anything.jpg

They all count as one identity of one camera, since nothing is known of them.
"""

from __future__ import annotations

from pathlib import Path

from training.data.files import IMAGE_SUFFIXES, require_folder, walk_images
from training.data.records import Dataset, DatasetError, Record, one_split


def read_unlabeled(root: Path, split: int = 0) -> Dataset:
    """Reads the layout above, in the order of the paths. Raises DatasetError for a folder without images."""
    one_split("unlabeled", split)
    require_folder(root, "unlabeled")
    paths = walk_images(root)
    if not paths:
        raise DatasetError(
            f"unlabeled: {root} and its folders hold no images ({', '.join(sorted(IMAGE_SUFFIXES))})"
        )
    return Dataset("unlabeled", [Record(path, 1, 0) for path in paths], [], [])
