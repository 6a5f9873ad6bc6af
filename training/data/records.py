"""What every dataset reader returns."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import NamedTuple


class DatasetError(ValueError):
    """A dataset folder that is not what its reader expects; names the path and the number."""


class Record(NamedTuple):
    """One crop on disk."""

    path: Path
    pid: int  # identity, as the dataset numbers it; 0 is a distractor in Market-1501
    camid: int  # camera, from 0
    domain: int = 0  # which of several joined datasets
    track: int = -1  # crops of one track of a person in a camera are evaluated together; -1: a crop alone


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Train, query and gallery crops of one domain."""

    name: str
    train: list[Record]
    query: list[Record]
    gallery: list[Record]
    ignore_camera: bool = False  # True: the same-camera rule of evaluation does not apply (methods B.5)
    # True: evaluation draws one gallery image of each person, in repetitions (old CUHK03, methods B.3)
    single_shot: bool = False
    same_classes: bool = False  # True: a pid means the same in every part, as a class of images does
    people: tuple[str, ...] = ()  # names of pid 1, 2, ... where the data gives names
    cameras: tuple[str, ...] = ()  # names of camera 0, 1, ...
    notes: tuple[str, ...] = ()  # sentences on how the data was read and what was left out

    def train_labels(self) -> list[int]:
        """Training identities renumbered 0..n-1 by domain, then pid: a domain's labels are consecutive."""
        order = {key: i for i, key in enumerate(sorted({(r.domain, r.pid) for r in self.train}))}
        return [order[r.domain, r.pid] for r in self.train]

    def identities(self) -> list[int]:
        """Number of training identities of each domain."""
        counts = Counter(domain for domain, _ in {(r.domain, r.pid) for r in self.train})
        return [counts[domain] for domain in range(max(counts, default=-1) + 1)]

    def all_images(self, same_people: bool = False) -> Dataset:
        """The dataset with query and gallery added to the training crops, and nothing left to evaluate on.

        For evaluation on other datasets only (the protocol of DualNorm and BNTA). Distractors (pid 0) stay
        out.

        Args:
            same_people: who is called alike in the training part and in query or gallery is one person.
                Otherwise they are two, since many number each part from 1; classes are always the same.
        """
        added = [r for r in (*self.query, *self.gallery) if r.pid > 0]
        people = self.people
        trained = {r.pid for r in self.train}
        if not (same_people or self.same_classes) and trained & {r.pid for r in added}:
            files = {r.path for r in self.train}
            added = [r._replace(pid=r.pid + max(trained)) for r in added if r.path not in files]
            people = ()  # a name would stand for two
        train = list(dict.fromkeys([*self.train, *added]))
        return dataclasses.replace(self, train=train, query=[], gallery=[], people=people)


def join(datasets: list[Dataset]) -> Dataset:
    """Several datasets as one to train on, each a domain of its own.

    No identity or camera is shared, and there is nothing to evaluate on. Raises DatasetError for a dataset
    without training crops.
    """
    train: list[Record] = []
    cameras = 0
    for domain, dataset in enumerate(datasets):
        if not dataset.train:
            raise DatasetError(f"{dataset.name} has no training crops, so it cannot be a source")
        train += [r._replace(domain=domain, camid=r.camid + cameras) for r in dataset.train]
        cameras += max(r.camid for r in dataset.train) + 1
    notes = tuple(f"{dataset.name}: {note}" for dataset in datasets for note in dataset.notes)
    return Dataset("+".join(d.name for d in datasets), train, [], [], notes=notes)


def one_split(name: str, split: int) -> None:
    """Raises DatasetError for any split but the only one."""
    if split:
        raise DatasetError(f"{name} has one split, 0, not {split}")


def require_counts(name: str, counted: dict[str, int], expected: dict[str, int]) -> None:
    """Raises DatasetError with every count that differs from the published one."""
    wrong = [f"{key} {counted[key]} instead of {n}" for key, n in expected.items() if counted[key] != n]
    if wrong:
        raise DatasetError(
            f"{name}: {', '.join(wrong)}; the folder is incomplete or not the original release"
        )
