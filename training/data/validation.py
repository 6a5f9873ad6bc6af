"""The part of a training set that is not trained on, but evaluated on while a run goes on."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from training.data.matches import count_matchless
from training.data.records import Dataset, DatasetError, Record
from training.data.tracks import as_items

_LEAST = 2  # people of each domain: one alone is always found


def cut_validation(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Cuts a share of the training identities of each domain off: (what is trained on, what is evaluated on).

    The same data, share and seed always give the same part. Of each person one crop (or track) at each
    camera is a query, the others are the gallery. Where nobody was seen by two cameras, matches of a query's
    own camera count. Query and gallery of the dataset are not used: they may be the target's test part.

    Raises DatasetError where too few people can be ranked.
    """
    ignore_camera = dataset.ignore_camera or not any(
        len({r.camid for r in records}) > 1 for records in _people(dataset.train).values()
    )
    rng = np.random.default_rng((seed, 0x76616C))  # apart from the numbers that batches are drawn from
    chosen: list[tuple[int, int]] = []
    for domain in sorted({r.domain for r in dataset.train}):
        people = _people([r for r in dataset.train if r.domain == domain])
        able = [key for key, records in people.items() if _can_be_ranked(records, ignore_camera)]
        count = max(_LEAST, round(share * len(people)))
        if len(able) < count or len(people) - count < _LEAST:
            raise DatasetError(
                f"{dataset.name}: {len(people)} people are too few to train on and to cut {count} off for "
                f"validation; set validation.every to 0, or validation.dataset to another dataset"
            )
        chosen += [able[i] for i in sorted(rng.choice(len(able), count, replace=False))]
    parts = _people(dataset.train)
    query: list[Record] = []
    gallery: list[Record] = []
    for pid, key in enumerate(chosen, 1):  # a pid is unique within its domain only
        records = [r._replace(pid=pid) for r in parts[key]]
        asked = _queries(records, rng)
        query += asked
        gallery += [r for r in records if r not in set(asked)]
    part = Dataset(f"validation part of {dataset.name}", [], query, gallery, ignore_camera)
    if count_matchless(part) == len(as_items(query)[0]):
        raise DatasetError(f"{part.name}: no query has a match; set validation.dataset to another dataset")
    left = set(chosen)
    kept = [r for r in dataset.train if (r.domain, r.pid) not in left]
    note = f"{len(chosen)} people are kept for validation and not trained on"
    return dataclasses.replace(dataset, train=kept, notes=(*dataset.notes, note)), part


def _people(records: Sequence[Record]) -> dict[tuple[int, int], list[Record]]:
    """The records of each person, by domain and pid, in order."""
    people: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda r: (r.domain, r.pid)):
        people[record.domain, record.pid].append(record)
    return people


def _can_be_ranked(records: Sequence[Record], ignore_camera: bool) -> bool:
    """Whether a query of this person finds a match: two crops or tracks, at two cameras where they count."""
    if ignore_camera:
        return len(as_items(records)[0]) > 1
    return len(_items_by_camera(records)) > 1


def _queries(records: Sequence[Record], rng: np.random.Generator) -> list[Record]:
    """A crop or track of each camera that has another one, or the person's first."""
    drawn: list[Record] = []
    for items in _items_by_camera(records).values():
        if len(items) > 1:
            drawn.append(items[int(rng.integers(len(items)))])
    drawn = drawn or [records[0]]
    keys = {_item(record) for record in drawn}
    return [record for record in records if _item(record) in keys]


def _items_by_camera(records: Sequence[Record]) -> dict[int, list[Record]]:
    by_camera: dict[int, list[Record]] = defaultdict(list)
    for item in as_items(records)[0]:
        by_camera[item.camid].append(item)
    return by_camera


def _item(record: Record) -> tuple[object, ...]:
    return (record.path,) if record.track < 0 else (record.camid, record.track)
