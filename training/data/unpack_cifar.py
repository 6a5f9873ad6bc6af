"""Writes CIFAR-10's or CIFAR-100's binary release as PNG, one folder for each class.

python -m training.data.unpack_cifar CIFAR OUT
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from training.data.records import DatasetError


class _Release(NamedTuple):
    names: str  # the file of class names
    labels: int  # bytes before the pixels; the last one is the class
    train: list[str]
    test: list[str]


_RELEASES = (
    # CIFAR-10
    _Release("batches.meta.txt", 1, [f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]),
    # CIFAR-100
    _Release("fine_label_names.txt", 2, ["train.bin"], ["test.bin"]),
)
_SIDE = 32


def unpack_cifar(release: Path, out: Path) -> int:
    """Writes a binary release (not the pickled one) as PNG; returns the number of images.

    Raises DatasetError for a folder that is not such a release.
    """
    kind = next((kind for kind in _RELEASES if (release / kind.names).is_file()), None)
    if kind is None:
        raise DatasetError(
            f"{release} holds neither {' nor '.join(kind.names for kind in _RELEASES)}: give the folder of "
            f"CIFAR's binary release"
        )
    names = (release / kind.names).read_text().split()
    written = 0
    for part, files in (("train", kind.train), ("test", kind.test)):
        for file in files:
            try:
                raw = np.fromfile(release / file, np.uint8).reshape(-1, kind.labels + 3 * _SIDE**2)
            except (OSError, ValueError) as error:
                raise DatasetError(f"{release / file} is missing or cut off: {error}") from error
            if raw[:, kind.labels - 1].max(initial=0) >= len(names):
                raise DatasetError(f"{release / file} has a class that {kind.names} does not name")
            for place, row in enumerate(raw):
                folder = out / part / names[row[kind.labels - 1]]
                folder.mkdir(parents=True, exist_ok=True)
                pixels = row[kind.labels :].reshape(3, _SIDE, _SIDE).transpose(1, 2, 0)
                Image.fromarray(np.ascontiguousarray(pixels)).save(
                    folder / f"{Path(file).stem}_{place:05}.png"
                )
                written += 1
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", type=Path, help="the folder of CIFAR's binary release")
    parser.add_argument("out", type=Path, help="folder to write, which --data takes afterwards")
    options = parser.parse_args()
    try:
        written = unpack_cifar(options.release, options.out)
    except DatasetError as error:
        sys.exit(f"resight: {error}")
    print(f"{written} images; next: resight train ptl-cifar --data {options.out} --out RUN")
