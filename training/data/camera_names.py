"""The camera in a file name of a person's folder: CAMERA_anything, PERSON_CAMERA_anything, or none.

Which of them a data set uses is decided for all of its names together, since `0101_c1s1_000451.jpg` alone
could be crop c1s1 of camera 0101. What remains open is an error: a person read as a camera would train in
silence and could not be evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from training.data.labelled import ONE_CAMERA
from training.data.records import DatasetError

_CAMERA = re.compile(r"(c|cam|camera)-?\d+", re.IGNORECASE)
_SEQUENCE = re.compile(r"(c\d+)s\d+")  # Market-1501 names the part of the video too
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")
_MANY = 16  # cameras; with more than these, no person twice before one of them is suspicious

ADVICE = (
    "say what stands where: dataset pattern:FOLDER with --pattern "
    r"'(?P<part>train|query|gallery)/(?P<person>[^/]+)/(?P<camera>[^_]+)_'"
)


class _Name(NamedTuple):
    person: str
    path: Path
    fields: list[str]  # of the file name; the first is empty where the name has no underscore


def cameras_of(files: Sequence[tuple[str, Path]]) -> tuple[list[str], str]:
    """The camera of every (person, path), in order, and the form of the names as text.

    Raises DatasetError where the names fit two forms, or where what they give cannot be cameras.
    """
    names = [_Name(person, path, _fields(person, path)) for person, path in files]
    if _person_first(names):
        form, cameras = "PERSON_CAMERA_anything", _second_fields(names)
        if not any(cameras):
            form = "PERSON_anything"
    else:
        form, cameras = "CAMERA_anything", [name.fields[0] for name in names]
        if not any(cameras):
            form = "names without a camera"
    labels = [_SEQUENCE.sub(r"\1", camera) if camera else ONE_CAMERA for camera in cameras]
    _require_cameras(names, labels)
    return labels, form


def _fields(person: str, path: Path) -> list[str]:
    if _same(person, path.stem):
        return [person, ""]
    if path.stem.casefold().startswith(person.casefold() + "_"):  # the person may have underscores too
        return [person, *path.stem[len(person) + 1 :].split("_")]
    fields = path.stem.split("_")
    return fields if len(fields) > 1 else ["", *fields]


def _person_first(names: Sequence[_Name]) -> bool:
    own = [_same(name.person, name.fields[0]) for name in names]
    if not any(own):
        return _labels_people(names)
    if all(own):
        return True
    seen: dict[str, set[str]] = {}
    for name in names:
        seen.setdefault(name.fields[0], set()).add(name.person)
    # a camera that happens to be called like one of the people is seen in folders of others too
    if any(len(seen[name.fields[0]]) > 1 for name, is_own in zip(names, own, strict=True) if is_own):
        return False
    one, other = names[own.index(True)].path, names[own.index(False)].path
    raise DatasetError(
        f"{one} begins with the name of its folder and {other} does not, so it is open where the camera "
        f"stands; rename them, or {ADVICE}"
    )


def _labels_people(names: Sequence[_Name]) -> bool:
    """True where the first field is another name of the person: everyone has one, nobody shares it."""
    firsts: dict[str, set[str]] = {}
    for name in names:
        firsts.setdefault(name.person, set()).add(name.fields[0])
    values = set.union(*firsts.values())
    if len(firsts) < 2 or "" in values or len(values) < len(firsts) or max(map(len, firsts.values())) > 1:
        return False
    if all(_is_camera(name.fields[1]) for name in names):
        return True
    raise DatasetError(
        f"{names[0].path}: {names[0].fields[0]!r} can be the person or the camera, since everyone has a "
        f"first field of their own in the file names; {ADVICE}"
    )


def _same(person: str, field: str) -> bool:
    if person.isdecimal() and field.isdecimal():
        return int(person) == int(field)
    return person.casefold() == field.casefold()


def _is_camera(field: str) -> bool:
    return bool(_CAMERA.fullmatch(_SEQUENCE.sub(r"\1", field)))


def _second_fields(names: Sequence[_Name]) -> list[str]:
    """The fields behind the person: cameras where something follows them or where they are called so."""
    if all(len(name.fields) > 2 or _is_camera(name.fields[1]) for name in names):
        return [name.fields[1] for name in names]
    return [""] * len(names)  # anna_1.jpg, anna_2.jpg: the numbers of her pictures


def _require_cameras(names: Sequence[_Name], cameras: Sequence[str]) -> None:
    """Raises DatasetError where the fields that should be cameras are dates, or the numbers of pictures."""
    for name, camera in zip(names, cameras, strict=True):
        if _DATE.fullmatch(camera):
            raise DatasetError(
                f"{name.path}: {camera} stands where the camera is read and looks like a date; {ADVICE}"
            )
    pairs = {(name.person, camera) for name, camera in zip(names, cameras, strict=True)}
    count = len(set(cameras))
    if len(pairs) == len(names) and (count > _MANY or count == len(names) > 4):
        raise DatasetError(
            f"{names[0].path}: {cameras[0]!r} stands where the camera is read, but {count} cameras that see "
            f"everyone at most once look like numbers of pictures; {ADVICE}"
        )
