"""What can only be said of a dataset after opening every image: unreadable ones, equal and near ones."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reid.batches import Progress
from reid.images import ImageError
from training.data.labelled import PARTS
from training.data.near import near_pairs, thumbnail
from training.data.pixels import read_crop
from training.data.records import Dataset, Record
from training.data.summary import person_name

_BATCH = 256  # images between two movements of the progress bar


class Place(NamedTuple):
    """Where a picture was seen."""

    part: str
    person: str
    path: Path


class NearPair(NamedTuple):
    """Two pictures of different parts that are nearly the same."""

    difference: float  # mean of their thumbnails, in levels of 0..255
    first: Place
    second: Place


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What `resight data check` learns from opening every image."""

    unreadable: list[str]  # path and reason of each
    across_parts: list[list[Place]]  # the same picture in several of train, query and gallery
    two_people: list[list[Place]]  # the same picture under several names
    near: list[NearPair]  # the most alike first; without pairs that a ranking leaves out anyway
    sizes: tuple[tuple[int, int], tuple[int, int]] | None  # (height, width) of smallest and largest area

    def values(self) -> dict[str, Any]:
        """The findings as they stand in JSON."""
        return {
            "unreadable": self.unreadable,
            "same picture in several parts": [[str(p.path) for p in group] for group in self.across_parts],
            "same picture of several people": [[str(p.path) for p in group] for group in self.two_people],
            "nearly the same picture in several parts": [
                {"difference": round(pair.difference, 2), "paths": [str(p.path) for p in pair[1:]]}
                for pair in self.near
            ],
            "sizes": None if self.sizes is None else {"smallest": self.sizes[0], "largest": self.sizes[1]},
        }


def inspect(dataset: Dataset, progress: Progress | None = None) -> Inspection:
    """Decodes every image once. Pictures are equal if their upright pixels are, whatever the file is like."""
    # images to classify are compared with those that were trained on, so the gallery is no part of its own
    gallery = [] if dataset.same_classes else dataset.gallery
    records = {"train": dataset.train, "query": dataset.query, "gallery": gallery}
    places: dict[Path, list[tuple[str, Record]]] = {}
    for part in PARTS:
        for record in records[part]:
            places.setdefault(record.path, []).append((part, record))
    unreadable, looks = [], {}
    groups: dict[bytes, list[Place]] = {}
    for path, seen in zip(places, _looks(list(places), progress), strict=True):
        if isinstance(seen, str):
            unreadable.append(f"{path}: {seen}")
            continue
        looks[path] = seen
        group = groups.setdefault(seen.digest, [])
        group += [Place(part, person_name(dataset, r.pid), path) for part, r in places[path]]
    sizes = [look.size for look in looks.values()]
    return Inspection(
        unreadable,
        [group for group in groups.values() if len({place.part for place in group}) > 1],
        [group for group in groups.values() if len({place.person for place in group}) > 1],
        _near(dataset, {part: [r for r in records[part] if r.path in looks] for part in PARTS}, looks),
        (min(sizes, key=_area), max(sizes, key=_area)) if sizes else None,
    )


class _Look(NamedTuple):
    size: tuple[int, int]
    digest: bytes
    thumbnail: np.ndarray  # uint8 [384]


def _near(dataset: Dataset, records: dict[str, list[Record]], looks: dict[Path, _Look]) -> list[NearPair]:
    """Nearly equal pictures of different parts. Equal ones are none, nor those of a query's own camera and
    person, which a ranking leaves out."""
    thumbnails = {}
    for part in PARTS:
        thumbnails[part] = np.array([looks[record.path].thumbnail for record in records[part]], np.uint8)
    pairs = []
    for one, other in combinations(PARTS, 2):
        judged = (one, other) == ("query", "gallery") and not dataset.ignore_camera
        for difference, row, column in near_pairs(thumbnails[one], thumbnails[other]):
            a, b = records[one][row], records[other][column]
            left_out = judged and (a.pid, a.camid) == (b.pid, b.camid)
            if not left_out and looks[a.path].digest != looks[b.path].digest:
                first = Place(one, person_name(dataset, a.pid), a.path)
                pairs.append(NearPair(difference, first, Place(other, person_name(dataset, b.pid), b.path)))
    return sorted(pairs)


def _looks(paths: Sequence[Path], progress: Progress | None) -> list[_Look | str]:
    """Size and digest of each image, or why it cannot be read."""
    looks: list[_Look | str] = []
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(paths), _BATCH):
            looks += pool.map(_look, paths[start : start + _BATCH])
            if progress is not None:
                progress(len(looks), len(paths))
    return looks


def _look(path: Path) -> _Look | str:
    try:
        crop = read_crop(path)
    except (OSError, ImageError) as error:
        return str(error)
    height, width = crop.shape[:2]
    digest = hashlib.blake2b(crop.tobytes(), digest_size=16, person=f"{height}x{width}".encode()[:16])
    return _Look((height, width), digest.digest(), thumbnail(crop))


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
