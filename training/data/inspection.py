"""What can only be said of a dataset after opening every image: unreadable ones and equal pictures."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from reid.batches import Progress
from reid.images import ImageError
from training.data.labelled import PARTS
from training.data.pixels import read_crop
from training.data.records import Dataset, Record
from training.data.summary import person_name

_BATCH = 256  # images between two movements of the progress bar


class Place(NamedTuple):
    """Where a picture was seen."""

    part: str
    person: str
    path: Path


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The dear part of `resight data check`."""

    unreadable: list[str]  # path and reason of each
    across_parts: list[list[Place]]  # the same picture in several of train, query and gallery
    two_people: list[list[Place]]  # the same picture under several names
    sizes: tuple[tuple[int, int], tuple[int, int]] | None  # (height, width) of smallest and largest area

    def values(self) -> dict[str, Any]:
        """The findings as they stand in JSON."""
        return {
            "unreadable": self.unreadable,
            "same picture in several parts": [[str(p.path) for p in group] for group in self.across_parts],
            "same picture of several people": [[str(p.path) for p in group] for group in self.two_people],
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
    unreadable, sizes = [], []
    groups: dict[bytes, list[Place]] = {}
    for path, seen in zip(places, _looks(list(places), progress), strict=True):
        if isinstance(seen, str):
            unreadable.append(f"{path}: {seen}")
            continue
        sizes.append(seen.size)
        group = groups.setdefault(seen.digest, [])
        group += [Place(part, person_name(dataset, r.pid), path) for part, r in places[path]]
    return Inspection(
        unreadable,
        [group for group in groups.values() if len({place.part for place in group}) > 1],
        [group for group in groups.values() if len({place.person for place in group}) > 1],
        (min(sizes, key=_area), max(sizes, key=_area)) if sizes else None,
    )


class _Look(NamedTuple):
    size: tuple[int, int]
    digest: bytes


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
    return _Look((height, width), digest.digest())


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
