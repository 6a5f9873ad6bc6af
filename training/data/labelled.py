"""Crops whose people and cameras have names instead of numbers: how people's own data comes in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from training.data.records import Dataset, Record

PARTS = ("train", "query", "gallery")
NOBODY = ""  # the person of a gallery crop that shows none of the people
ONE_CAMERA = "0"  # the camera where nothing names one


class LabelledCrop(NamedTuple):
    """One crop on disk with the names that its list, folder or file name gives it."""

    path: Path
    part: str  # one of PARTS
    person: str
    camera: str = ONE_CAMERA
    track: str = ""  # of that person in that camera; "": a crop of its own


def numbered(name: str, crops: Sequence[LabelledCrop], notes: Sequence[str] = ()) -> Dataset:
    """The crops as a dataset, in their order.

    Identities are numbered from 1 and cameras and tracks from 0, in the order of their names. A crop of
    nobody has the identity 0, a distractor.

    Args:
        notes: sentences on how the data was read, for `resight data check`.
    """
    people = sorted({crop.person for crop in crops} - {NOBODY})
    cameras = sorted({crop.camera for crop in crops})
    tracks = sorted({crop[1:] for crop in crops if crop.track})
    pids = {NOBODY: 0} | {person: i for i, person in enumerate(people, 1)}
    camids = {camera: i for i, camera in enumerate(cameras)}
    numbers = {track: i for i, track in enumerate(tracks)}
    records: dict[str, list[Record]] = {part: [] for part in PARTS}
    for crop in crops:
        record = Record(crop.path, pids[crop.person], camids[crop.camera], track=numbers.get(crop[1:], -1))
        records[crop.part].append(record)
    return Dataset(name, *records.values(), people=tuple(people), cameras=tuple(cameras), notes=tuple(notes))
