"""What can be said of a dataset without opening an image: numbers, and what will go wrong with them."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from training.data.labelled import PARTS
from training.data.matches import count_matchless
from training.data.records import Dataset, Record
from training.data.selection import singles_of
from training.data.tracks import as_items

_SHOWN = 5  # names in a sentence


@dataclasses.dataclass(frozen=True)
class PartSummary:
    """The numbers of train, query or gallery; distractors (pid 0) are images and no people."""

    part: str
    images: int
    people: int
    tracks: int  # 0 where no crop belongs to one
    per_person: tuple[int, float, int]  # images: fewest, median, most
    per_camera: dict[str, int]  # images by the camera's name


@dataclasses.dataclass(frozen=True)
class Summary:
    """The cheap part of `resight data check`."""

    name: str
    parts: list[PartSummary]
    queries: int  # tracks count once
    matchless: int  # of the queries: those without a match in the gallery
    ignore_camera: bool
    singles: int  # people with one training image
    one_camera: int  # people in train whom a single camera has seen
    namesakes: list[str]  # people called alike in train and in query or gallery
    notes: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """The numbers as they stand in JSON, with the words of the tables."""
        parts = {}
        for part in self.parts:
            fewest, median, most = part.per_person
            parts[part.part] = {
                "images": part.images,
                "people": part.people,
                "tracks": part.tracks,
                "images a person": {"fewest": fewest, "median": median, "most": most},
                "images by camera": part.per_camera,
            }
        return {
            "dataset": self.name,
            "parts": parts,
            "queries": self.queries - self.matchless,
            "queries without a match": self.matchless,
            "people with one training image": self.singles,
            "people to train on seen by one camera": self.one_camera,
            "people called alike in train and in query or gallery": len(self.namesakes),
            "notes": list(self.notes),
        }


def summarise(dataset: Dataset) -> Summary:
    """The numbers of a dataset."""
    records = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
    cameras: dict[tuple[int, int], set[int]] = {}
    for record in dataset.train:
        cameras.setdefault((record.domain, record.pid), set()).add(record.camid)
    tested = {r.pid for r in (*dataset.query, *dataset.gallery) if r.pid > 0}
    alike = sorted({r.pid for r in dataset.train} & tested) if dataset.people else []
    return Summary(
        dataset.name,
        [_part(dataset, part, records[part]) for part in PARTS if records[part]],
        len(as_items(dataset.query)[0]),
        count_matchless(dataset),
        dataset.ignore_camera,
        len(singles_of(dataset)),
        sum(len(seen) == 1 for seen in cameras.values()),
        [person_name(dataset, pid) for pid in alike],
        dataset.notes,
    )


def in_lines(summary: Summary) -> list[str]:
    """The summary as it stands before a training or an evaluation: a line for each part, then what is odd."""
    lines = []
    for part in summary.parts:
        fewest, _, most = part.per_person
        cameras = _plural(len(part.per_camera), "camera")
        tracks = f" in {_plural(part.tracks, 'track')}" if part.tracks else ""
        images = f"{_plural(part.images, 'image')}{tracks}"
        people = f"{_plural(part.people, 'person', 'people')} ({fewest} to {most} each)"
        lines.append(f"{part.part}: {images} of {people} by {cameras}")
    return [f"{summary.name}: {line}" for line in [*lines, *oddities(summary)]]


def oddities(summary: Summary) -> list[str]:
    """Sentences on what will make a training or an evaluation less than it seems, and how it was read."""
    lines = []
    if summary.matchless:
        where = "in the gallery" if summary.ignore_camera else "by another camera in the gallery"
        lines.append(
            f"{summary.matchless} of {summary.queries} queries have no match {where} and cannot be scored"
        )
    if summary.singles:
        lines.append(f"{_plural(summary.singles, 'person', 'people')} to train on with one image")
    train = next((part for part in summary.parts if part.part == "train"), None)
    if train and summary.one_camera and len(train.per_camera) > 1:
        lines.append(
            f"{summary.one_camera} of {train.people} people to train on were seen by one camera only"
        )
    if summary.namesakes:
        named = ", ".join(summary.namesakes[:_SHOWN]) + (", ..." if len(summary.namesakes) > _SHOWN else "")
        count = len(summary.namesakes)
        lines.append(
            f"{_plural(count, 'person is', 'people are')} called alike in train and in query or gallery "
            f"({named}): scores of people who were trained on are too high; other people need other names"
        )
    return [*lines, *_shortened(summary.notes)]


def person_name(dataset: Dataset, pid: int) -> str:
    """The person's name where the data gives one, else the number; 0 is nobody."""
    return dataset.people[pid - 1] if 0 < pid <= len(dataset.people) else str(pid) if pid else "nobody"


def camera_name(dataset: Dataset, camid: int) -> str:
    """The camera's name where the data gives one, else its number, from 1 as in Market-1501's names."""
    return dataset.cameras[camid] if camid < len(dataset.cameras) else f"c{camid + 1}"


def _part(dataset: Dataset, part: str, records: Sequence[Record]) -> PartSummary:
    people = Counter((r.domain, r.pid) for r in records if r.pid > 0 or part == "train")
    numbers = sorted(people.values()) or [0]
    cameras = Counter(r.camid for r in records)
    tracked = [r for r in records if r.track >= 0]
    return PartSummary(
        part,
        len(records),
        len(people),
        len(as_items(tracked)[0]),
        (numbers[0], statistics.median(numbers), numbers[-1]),
        {camera_name(dataset, camid): cameras[camid] for camid in sorted(cameras)},
    )


def _shortened(notes: Sequence[str]) -> list[str]:
    if len(notes) <= _SHOWN + 1:
        return list(notes)
    return [*notes[:_SHOWN], f"and {len(notes) - _SHOWN} more notes, which resight data check --json writes"]


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"
