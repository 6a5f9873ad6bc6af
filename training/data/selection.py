"""Which of a dataset's crops are used: what is trained on, and what is left out with a count."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from reid.images import ImageError
from training.data.pixels import read_crop
from training.data.records import Dataset, DatasetError, Record

_SHOWN = 3  # names in a sentence


@dataclasses.dataclass(frozen=True)
class Selection:
    """What of a source is trained on."""

    all_images: bool = False  # query and gallery too
    same_people: bool = False  # with all_images: equal names in different parts are one person
    leave_out_singles: bool = False  # people with one image
    skip_unreadable: bool = False  # images that cannot be decoded

    def of(self, dataset: Dataset) -> Dataset:
        """The training crops of a dataset; its notes say how many were left out.

        Raises DatasetError where nothing remains, and for people's own data with a person of one image,
        unless these are left out: a name that was read wrongly makes many such people.
        """
        names_given = bool(dataset.people)
        if self.all_images:
            dataset = dataset.all_images(self.same_people)
        if self.skip_unreadable:
            dataset = without_unreadable(dataset, ("train",))
        if self.leave_out_singles:
            dataset = _without_singles(dataset)
        elif names_given:
            _require_no_singles(dataset)
        return dataset


def draw_people(dataset: Dataset, count: int, seed: int) -> Dataset:
    """The training crops of `count` identities drawn by the seed; 0 takes all.

    Every joined domain gives equally many, as far as it has them (M3L's Table A).
    Raises DatasetError for fewer identities in all.
    """
    if not count:
        return dataset
    people = sorted({(r.domain, r.pid) for r in dataset.train})
    if len(people) < count:
        raise DatasetError(f"{dataset.name} has {len(people)} identities, not the {count} of the recipe")
    rng = np.random.default_rng(seed)
    waiting: dict[int, list[tuple[int, int]]] = {}
    for place in rng.permutation(len(people)):
        waiting.setdefault(people[place][0], []).append(people[place])
    kept: set[tuple[int, int]] = set()
    while len(kept) < count:
        for domain in sorted(waiting):
            if waiting[domain] and len(kept) < count:
                kept.add(waiting[domain].pop())
    train = [r for r in dataset.train if (r.domain, r.pid) in kept]
    return dataclasses.replace(dataset, train=train)


def judged_crops(dataset: Dataset, ignore_cameras: bool, skip_unreadable: bool = False) -> Dataset:
    """Query and gallery as they are evaluated, without the training crops.

    Args:
        ignore_cameras: whether matches of the query's own camera count, whatever the dataset says.
    """
    ignore_cameras |= dataset.ignore_camera
    judged = dataclasses.replace(dataset, train=[], ignore_camera=ignore_cameras)
    return without_unreadable(judged, ("query", "gallery")) if skip_unreadable else judged


def without_unreadable(dataset: Dataset, parts: Sequence[str]) -> Dataset:
    """Leaves out the images of some parts that cannot be decoded, which takes a look at each.

    The notes of the result name them all. Raises DatasetError where a part has no images left.
    """
    kept = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
    notes = []
    for part in parts:
        faults = find_unreadable(kept[part])
        readable = [record for i, record in enumerate(kept[part]) if i not in faults]
        if faults and not readable:
            raise DatasetError(f"{dataset.name}: no image of {part} can be read; the first: {faults[0]}")
        kept[part] = readable
        notes += [f"left out of {part}, as it cannot be read: {fault}" for fault in faults.values()]
    return dataclasses.replace(
        dataset,
        train=kept["train"],
        query=kept["query"],
        gallery=kept["gallery"],
        notes=(*dataset.notes, *notes),
    )


def find_unreadable(records: Sequence[Record]) -> dict[int, str]:
    """The records whose images cannot be decoded, by their index, with the path and the reason."""

    def fault(record: Record) -> str | None:
        try:
            read_crop(record.path)
        except (OSError, ImageError) as error:
            return f"{record.path}: {error}"
        return None

    with ThreadPoolExecutor(4) as pool:
        faults = enumerate(pool.map(fault, records, chunksize=64))
        return {i: text for i, text in faults if text is not None}


def singles_of(dataset: Dataset) -> list[Record]:
    """The only training crop of everyone who has no second one."""
    counts = Counter((r.domain, r.pid) for r in dataset.train)
    return [r for r in dataset.train if counts[r.domain, r.pid] == 1]


def _without_singles(dataset: Dataset) -> Dataset:
    singles = set(singles_of(dataset))
    if not singles:
        return dataset
    kept = [r for r in dataset.train if r not in singles]
    if not kept:
        raise DatasetError(f"{dataset.name}: everyone in train has one image, so nobody is left to train on")
    note = f"{len(singles)} people with one image are left out of training"
    return dataclasses.replace(dataset, train=kept, notes=(*dataset.notes, note))


def _require_no_singles(dataset: Dataset) -> None:
    singles = singles_of(dataset)
    if singles:
        named = ", ".join(str(r.path) for r in singles[:_SHOWN]) + (", ..." if len(singles) > _SHOWN else "")
        raise DatasetError(
            f"{dataset.name}: {len(singles)} people to train on have one image ({named}) and need "
            f"two or more; --leave-out-singles trains on the others"
        )
