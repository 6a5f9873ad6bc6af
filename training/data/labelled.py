"""Crops whose people and cameras have names instead of numbers: how people's own data comes in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from training.data.records import Dataset, DatasetError, Record

PARTS = ("train", "query", "gallery")
NOBODY = ""  # the person of a gallery crop that shows none of the people
ONE_CAMERA = "0"  # the camera where nothing names one

# how the fields of a list and the groups of a pattern may be called; the second words are those of enrolling
FIELDS = {
    "path": "path",
    "person": "person",
    "identity": "person",
    "camera": "camera",
    "part": "part",
    "time": "time",
    "captured_at": "time",
    "track": "track",
}
_DATE, _NUMBER = re.compile(r"\d{8}"), re.compile(r"\d{9,}(\.\d*)?")
_PART_NAMES = {
    **{part: part for part in PARTS},
    "bounding_box_train": "train",
    "bounding_box_test": "gallery",
    "bbox_train": "train",
    "bbox_test": "gallery",
}


class LabelledCrop(NamedTuple):
    """One crop on disk with the names that its list, folder or file name gives it."""

    path: Path
    part: str  # one of PARTS
    person: str
    camera: str = ONE_CAMERA
    track: str = ""  # of that person in that camera; "": a crop of its own
    time: float | None = None  # seconds since 1970


def labelled_crop(path: Path, fields: dict[str, Any], where: str) -> LabelledCrop:
    """The crop of a row or of a match, whose fields are called as in FIELDS; None is a missing value.

    Raises DatasetError, beginning with `where`, for a part or a time that is none, and for a crop without
    a person outside the gallery.
    """
    values = {FIELDS[name]: _text(value) for name, value in fields.items()}
    part = _PART_NAMES.get(values.get("part", "train").lower())
    if part is None:
        raise DatasetError(f"{where}: part is {values['part']!r}; it can be {', '.join(PARTS)}")
    person = values.get("person", "")
    if not person and part != "gallery":
        raise DatasetError(f"{where}: no person; only a gallery crop may be of nobody")
    time = _seconds(values.get("time", ""), where)
    return LabelledCrop(path, part, person, values.get("camera") or ONE_CAMERA, values.get("track", ""), time)


def numbered_people(crops: Sequence[LabelledCrop]) -> tuple[list[LabelledCrop], int]:
    """The crops by Market-1501's rules for people who are numbers, and how many junk crops they leave out.

    0002 and 2 are one person, -1 is junk. 0 is a distractor where it stands in the gallery alone; people who
    count from 0 train on such a person or ask for them.
    """
    kept = []
    for crop in crops:
        number = crop.person.lstrip("0")  # MARS writes 00-1
        if number != "-1":
            kept.append(crop._replace(person=number or "0") if _is_number(crop.person) else crop)
    junk = len(crops) - len(kept)
    if not any(crop.person == "0" and crop.part != "gallery" for crop in kept):
        kept = [crop._replace(person=NOBODY) if crop.person == "0" else crop for crop in kept]
    return kept, junk


def numbered(name: str, crops: Sequence[LabelledCrop], notes: Sequence[str] = ()) -> Dataset:
    """The crops as a dataset, in their order.

    Identities are numbered from 1 and cameras and tracks from 0, in the order of their names. A crop of
    nobody has the identity 0, a distractor. Names are the same however their letters are composed (NFC).

    Args:
        notes: sentences on how the data was read, for `resight data check`.

    Raises DatasetError unless there are crops to train on, or both query and gallery crops.
    """
    crops = [
        crop._replace(person=_label(crop.person), camera=_label(crop.camera), track=_label(crop.track))
        for crop in crops
    ]
    parts = {crop.part for crop in crops}
    if ("query" in parts) != ("gallery" in parts) or not parts:
        held = f"only {' and '.join(sorted(parts))} crops" if parts else "no crops"
        raise DatasetError(
            f"{name} has {held}; it needs train crops, or query and gallery crops, or all three"
        )
    people = sorted({crop.person for crop in crops} - {NOBODY})
    cameras = sorted({crop.camera for crop in crops})
    tracks = sorted({_track(crop) for crop in crops if crop.track})
    pids = {NOBODY: 0} | {person: i for i, person in enumerate(people, 1)}
    camids = {camera: i for i, camera in enumerate(cameras)}
    numbers = {track: i for i, track in enumerate(tracks)}
    records: dict[str, list[Record]] = {part: [] for part in PARTS}
    for crop in crops:
        track = numbers.get(_track(crop), -1)
        records[crop.part].append(Record(crop.path, pids[crop.person], camids[crop.camera], track=track))
    times = [crop.time for crop in crops if crop.time is not None]
    if times:
        first, last = (datetime.fromtimestamp(t, timezone.utc).isoformat() for t in (min(times), max(times)))
        notes = [*notes, f"taken between {first} and {last}"]
    return Dataset(
        name,
        records["train"],
        records["query"],
        records["gallery"],
        people=tuple(people),
        cameras=tuple(cameras),
        notes=tuple(notes),
    )


def _label(text: str) -> str:
    """The text as it can be compared and printed, also where a file name is not UTF-8."""
    return unicodedata.normalize("NFC", text).encode("utf-8", "backslashreplace").decode()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _track(crop: LabelledCrop) -> tuple[str, ...]:
    return crop.part, crop.person, crop.camera, crop.track


def _text(value: Any) -> str:
    """A value as a list may hold it: 101, 101.0 beside missing values, or a timestamp."""
    if value is None or value != value:  # not a number
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _seconds(text: str, where: str) -> float | None:
    """Seconds since 1970 of a time of 1970 to 2100; a number of eight digits is a date."""
    if not text:
        return None
    try:
        if _DATE.fullmatch(text):
            moment = datetime.strptime(text, "%Y%m%d")
        elif _NUMBER.fullmatch(text):
            moment = datetime.fromtimestamp(float(text), timezone.utc)
        else:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
        if not 1970 <= moment.year <= 2100:
            raise ValueError(moment)
    except (ValueError, OverflowError, OSError):
        raise DatasetError(
            f"{where}: time is {text!r}; it can be like 2026-05-04T10:15:00Z, or seconds since 1970, until "
            f"2100"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
