"""Tracklets in MARS's layout: crops of a track are trained on one by one and compared as a whole.

    root/bbox_train/0001/0001C1T0001F001.jpg         person, camera, track, frame
    root/bbox_test/0003/0003C2T0004F017.jpg
    root/query/0003/0003C1T0002F001.jpg              the tracks to ask with, or else MARS's own list of them:
    root/info/{test_name.txt,tracks_test_info.mat,query_IDX.mat}

Person 00-1 is junk and dropped, 0000 a distractor.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import require_folder, walk_images
from training.data.labelled import LabelledCrop, numbered, numbered_people
from training.data.records import Dataset, DatasetError, one_split

_NAME = re.compile(r"(?P<person>.+?)C(?P<camera>\d+)T(?P<track>\d+)F\d+")
_FOLDERS = {"bbox_train": "train", "query": "query", "bbox_test": "gallery"}
_NAMES, _TRACKS, _QUERIES = "test_name.txt", "tracks_test_info.mat", "query_IDX.mat"


def read_tracklets(root: Path, split: int = 0) -> Dataset:
    """Reads the layout above.

    Raises DatasetError for a name that is not like these, and where nothing says which test tracks ask.
    """
    one_split("tracklets", split)
    require_folder(root, "tracklets")
    if not any((root / folder).is_dir() for folder in _FOLDERS):
        raise DatasetError(f"tracklets: {root} holds none of {', '.join(_FOLDERS)}")
    crops = [crop for folder, part in _FOLDERS.items() for crop in _crops(root / folder, part)]
    parts = {crop.part for crop in crops}
    if "gallery" in parts and "query" not in parts:
        queries = _queries_of_mars(root / "info")
        crops = [
            crop._replace(part="query") if (crop.person, crop.camera, crop.track) in queries else crop
            for crop in crops
        ]
    people, junk = numbered_people(crops)
    return numbered("tracklets", people, [f"{junk} junk crops are left out"] if junk else [])


def _crops(folder: Path, part: str) -> list[LabelledCrop]:
    if not folder.is_dir():
        return []
    return [LabelledCrop(path, part, *_labels(path)) for path in walk_images(folder)]


def _labels(path: Path) -> tuple[str, str, str]:
    """Person, camera and track of a name."""
    match = _NAME.match(path.stem)
    if match is None:
        raise DatasetError(f"tracklets: {path} is not named like 0001C1T0001F001.jpg")
    return match["person"], f"c{int(match['camera'])}", match["track"]


def _queries_of_mars(info: Path) -> set[tuple[str, str, str]]:
    """Person, camera and track of MARS's queries.

    query_IDX.mat holds rows of tracks_test_info.mat, whose first column is the line in test_name.txt of a
    track's first image; all of them count from 1.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        names = (info / _NAMES).read_text().split()
        tracks = loadmat(str(info / _TRACKS))["track_test_info"]
        rows = loadmat(str(info / _QUERIES))["query_IDX"].ravel()
        return {_labels(Path(names[int(tracks[int(row) - 1][0]) - 1])) for row in rows}
    except (MatReadError, OSError, KeyError, IndexError, ValueError, TypeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"tracklets: which tracks of {info.parent / 'bbox_test'} are queries? Put them into "
            f"{info.parent / 'query'}, or MARS's {_NAMES}, {_TRACKS} and {_QUERIES} into {info}: {error}"
        ) from error
