"""CUHK-SYSU cut out of its scenes, in the three layouts in circulation (methods B.1). It has no cameras."""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import matched_images, unpacked
from training.data.market_style import count
from training.data.records import Dataset, DatasetError, Record, one_split, require_counts

ALL = {"train ids": 11_934, "train": 34_574}
EVALUATED = {"train ids": 942, "train": 4_374, "query": 2_900, "gallery ids": 2_900, "gallery": 5_447}
_ALL_FORMS = {
    "cropped_images": re.compile(r"p(\d+)_s(\d+)_"),
    "cropped_image": re.compile(r"p(\d+)_n\d+_s(\d+)_"),
}
_EVALUATED_NAME = re.compile(r"(\d+)_s(\d+)_(\d+)_(\d+)$")


def read_cuhksysu(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """Reads all crops to train on, or the evaluation layout, whose ranking ignores cameras.

    The first is a folder `cropped_images`, or `cropped_image`, where the scene is taken for the camera; the
    second has `train`, `query` and `gallery`.
    """
    one_split("cuhksysu", split)
    for folder, pattern in _ALL_FORMS.items():
        if (root / folder).is_dir():
            train = _read(root / folder, pattern, camera=2 if folder == "cropped_image" else None)
            require_counts("cuhksysu", count(train, [], []), ALL if counts is None else counts)
            return Dataset("cuhksysu", train, [], [])
    root = unpacked(root, "cuhksysu4reid", ("train", "query", "gallery"))
    if not all((root / part).is_dir() for part in ("train", "query", "gallery")):
        raise DatasetError(
            f"cuhksysu: {root} holds neither cropped_images/ nor cropped_image/ nor train/, query/ and "
            f"gallery/"
        )
    train, query, gallery = (
        _read(root / part, _EVALUATED_NAME, camera=None) for part in ("train", "query", "gallery")
    )
    require_counts("cuhksysu", count(train, query, gallery), EVALUATED if counts is None else counts)
    return Dataset("cuhksysu", train, query, gallery, ignore_camera=True)


def _read(folder: Path, pattern: re.Pattern[str], camera: int | None) -> list[Record]:
    images = matched_images("cuhksysu", folder, pattern, f"the crops of this layout, {pattern.pattern}")
    return [Record(path, int(m[1]), int(m[camera]) if camera else 0) for path, m in images]
