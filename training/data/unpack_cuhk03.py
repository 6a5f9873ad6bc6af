"""Writes CUHK03's release (cuhk-03.mat) as the folders that its readers take.

python -m training.data.unpack_cuhk03 RELEASE OUT

HDF5 reverses MATLAB's order of dimensions: a cell array of people x 10 reads as (10, people), an image as (3,
width, height).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import loadmat

from training.data.cuhk03 import KINDS
from training.data.records import DatasetError

_MAT = "cuhk-03.mat"
_CONFIG = "cuhk03_new_protocol_config_{}.mat"  # of the new protocol's authors, not in the release
# pair, person of the pair, view, image of 10: all from 1
_NAME = re.compile(r"(\d+)_(\d+)_(\d+)_(\d+)\.png$")
_VIEW = 5  # images of a person in each of a pair's two views
_PARTS = (("train_idx", "bounding_box_train"), ("query_idx", "query"), ("gallery_idx", "bounding_box_test"))


class _Release:
    """The pictures of cuhk-03.mat, by kind, pair, person of the pair and place from 0 to 9."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._pairs = {kind: [file[ref] for ref in file[kind][()].ravel()] for kind in KINDS}
        self.people = [cells.shape[1] for cells in self._pairs[KINDS[0]]]
        # rows of pair and person
        self.testsets = [file[ref][()].T.astype(int) - 1 for ref in file["testsets"][()].ravel()]

    def picture(self, kind: str, pair: int, person: int, place: int) -> Image.Image | None:
        """A picture, or None where the release has none: MATLAB keeps the size of an empty cell instead."""
        pixels = self._file[self._pairs[kind][pair][place, person]][()]
        return Image.fromarray(np.ascontiguousarray(pixels.transpose(2, 1, 0))) if pixels.ndim == 3 else None


def unpack_cuhk03(release: Path, out: Path) -> dict[str, int]:
    """Writes the old protocol, and the new one where its two configurations lie beside the release.

    The old one goes to OUT/cuhk03-old in open-reid's form (labeled and detected crops together, 20 splits,
    people from 0), but as PNG, so that nothing is lost; the new one to OUT/cuhk03-np. Returns the number of
    images by folder. Raises DatasetError for a file that is missing or damaged.
    """
    if not (release / _MAT).is_file():
        raise DatasetError(f"{release} holds no {_MAT}: give the folder of CUHK03's release")
    try:
        with h5py.File(release / _MAT) as file:
            pictures = _Release(file)
            written = {"cuhk03-old": _old(pictures, out / "cuhk03-old")}
            for kind in KINDS:
                if (release / _CONFIG.format(kind)).is_file():
                    written[f"cuhk03-np/{kind}"] = _new(
                        pictures, kind, release / _CONFIG.format(kind), out / "cuhk03-np" / kind
                    )
    except (OSError, KeyError, ValueError, IndexError, NotImplementedError) as error:
        # h5py: no HDF5, a part missing; loadmat: no MATLAB file, or one in HDF5; a name or a number beyond
        # the release
        raise DatasetError(f"{release / _MAT} cannot be unpacked: {error}") from error
    return written


def _old(release: _Release, out: Path) -> int:
    (out / "images").mkdir(parents=True, exist_ok=True)
    written = 0
    offsets = np.cumsum([0, *release.people])
    for pair, people in enumerate(release.people):
        for person in range(people):
            for view in (0, 1):
                for number, picture in enumerate(_of_view(release, pair, person, view)):
                    picture.save(out / "images" / f"{offsets[pair] + person:08}_{view:02}_{number:04}.png")
                    written += 1
    everyone = set(range(int(offsets[-1])))
    splits = []
    for rows in release.testsets:
        test = sorted(int(offsets[pair] + person) for pair, person in rows)
        splits.append({"trainval": sorted(everyone - set(test)), "query": test, "gallery": test})
    (out / "splits.json").write_text(json.dumps(splits))
    return written


def _of_view(release: _Release, pair: int, person: int, view: int) -> Iterator[Image.Image]:
    """Labeled before detected, each up to its first gap.

    That leaves out one crop of 28,193, as the 28,192 that others count do.
    """
    for kind in reversed(KINDS):
        for place in range(view * _VIEW, (view + 1) * _VIEW):
            picture = release.picture(kind, pair, person, place)
            if picture is None:
                break
            yield picture


def _new(release: _Release, kind: str, path: Path, out: Path) -> int:
    config = loadmat(path)
    files = config["filelist"].ravel()
    labels, cameras = config["labels"].ravel().astype(int), config["camId"].ravel().astype(int)
    written = 0
    for key, folder in _PARTS:
        (out / folder).mkdir(parents=True, exist_ok=True)
        for row in config[key].ravel().astype(int) - 1:
            match = _NAME.match(str(files[row][0]))
            picture = None
            if match:
                pair, person, _, image = (int(m) - 1 for m in match.groups())
                picture = release.picture(kind, pair, person, image)
            if picture is None:
                raise DatasetError(f"{path} names {files[row][0]}, which {_MAT} does not have")
            picture.save(out / folder / f"{labels[row]:04}_c{cameras[row]}_{row + 1}.png")
            written += 1
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", type=Path, help=f"the folder of {_MAT}")
    parser.add_argument("out", type=Path, help="folder to write, which --data takes afterwards")
    options = parser.parse_args()
    try:
        counts = unpack_cuhk03(options.release, options.out)
    except DatasetError as problem:
        sys.exit(f"resight: {problem}")
    print("\n".join(f"{folder}: {images} images" for folder, images in counts.items()))
    if len(counts) == 1:
        print(
            f"the new protocol needs {' and '.join(_CONFIG.format(kind) for kind in KINDS)} in "
            f"{options.release}"
        )
