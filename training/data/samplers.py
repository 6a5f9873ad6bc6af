"""The samplers that a recipe can choose besides BoT's chunks, and epochs of a fixed number of steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from training.data.records import DatasetError
from training.data.sampler import DomainSampler, IdentitySampler, crops_by_identity

KINDS = ("chunks", "identities", "identities-any-camera", "shuffle")


class Sampler(Protocol):
    """Batches of record indices; the same (seed, epoch) gives the same ones."""

    def __len__(self) -> int:
        """Batches of an epoch."""

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """The batches of an epoch."""


class UniformSampler:
    """Every identity once an epoch, whatever it has of crops: an anchor and K - 1 positives (M3L's code).

    Positives come from other cameras than the anchor's where the identity has any there, else from its
    other crops; with one crop it is the anchor K times. What is left of the last batch is dropped.
    Without `other_cameras` any K crops of the identity are drawn (the published code of MGN and PTL).

    Args:
        labels, cameras: identity and camera of every record. p: identities in a batch. k: crops of each.
        seed: of every choice; the epoch is mixed in by `batches`.

    Raises DatasetError for fewer than P identities.
    """

    def __init__(
        self,
        labels: Sequence[int],
        cameras: Sequence[int],
        p: int,
        k: int,
        seed: int,
        other_cameras: bool = True,
    ) -> None:
        self.p, self.k, self.seed, self.other_cameras = p, k, seed, other_cameras
        self.cameras = np.asarray(cameras)
        self.crops = list(crops_by_identity(labels, p).values())

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.crops) // self.p

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """The batches of an epoch, each a list of P*K record indices grouped by identity."""
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.crops))
        for start in range(0, len(self) * self.p, self.p):
            batch: list[int] = []
            for identity in order[start : start + self.p]:
                batch += self._draw(self.crops[identity], rng)
            yield batch

    def _draw(self, crops: np.ndarray, rng: np.random.Generator) -> list[int]:
        if not self.other_cameras:
            return [int(i) for i in rng.choice(crops, self.k, replace=len(crops) < self.k)]
        anchor = int(rng.choice(crops))
        positives = crops[self.cameras[crops] != self.cameras[anchor]]
        if not len(positives):
            positives = crops[crops != anchor] if len(crops) > 1 else crops
        missing = self.k - 1
        return [anchor, *map(int, rng.choice(positives, missing, replace=len(positives) < missing))]


class ShuffledSampler:
    """All crops in random order, in batches of P*K; what is left of the last batch is dropped.

    Raises DatasetError for fewer crops than a batch.
    """

    def __init__(self, labels: Sequence[int], cameras: Sequence[int], p: int, k: int, seed: int) -> None:
        self.count, self.size, self.seed = len(labels), p * k, seed
        if self.count < self.size:
            raise DatasetError(
                f"a batch needs {self.size} crops, the data has {self.count}; set batch_identities lower"
            )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.count // self.size

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """The batches of an epoch, each a list of P*K record indices."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.count).tolist()
        for start in range(0, len(self) * self.size, self.size):
            yield order[start : start + self.size]


class FixedEpochs:
    """Epochs of so many steps, whatever the data has: passes over it follow each other.

    A pass that an epoch cuts off goes on in the next (M3L's code), so every batch of it is used.
    """

    def __init__(self, inner: Sampler, steps: int) -> None:
        self.inner, self.steps = inner, steps

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.steps

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """The batches of an epoch."""
        number, begun = divmod(epoch * self.steps, len(self.inner))
        left = self.steps
        while left:
            for batch in itertools.islice(self.inner.batches(number), begun, begun + left):
                left -= 1
                yield batch
            number, begun = number + 1, 0


OfOneDomain = Callable[[Sequence[int], Sequence[int], int, int, int], Sampler]
_ONE_DOMAIN: dict[str, OfOneDomain] = {
    "chunks": IdentitySampler,
    "identities": UniformSampler,
    "identities-any-camera": partial(UniformSampler, other_cameras=False),
    "shuffle": ShuffledSampler,
}


def make_sampler(
    kind: str,
    steps: int,
    of_records: tuple[Sequence[int], Sequence[int], Sequence[int]],
    batch: tuple[int, int, int],
    per_domain: bool,
) -> Sampler:
    """The sampler of a run.

    Args:
        kind: one of KINDS. steps: of an epoch; 0: as many as the data gives.
        of_records: labels, cameras and domains of every record. batch: P, K and the seed.
        per_domain: P x K crops of every domain in a batch.

    Raises DatasetError for data that cannot fill a batch.
    """
    labels, cameras, domains = of_records

    def make(labels: Sequence[int], cameras: Sequence[int], p: int, k: int, seed: int) -> Sampler:
        sampler = _ONE_DOMAIN[kind](labels, cameras, p, k, seed)
        return FixedEpochs(sampler, steps) if steps else sampler

    if per_domain:
        return DomainSampler(labels, cameras, domains, *batch, make=make)
    return make(labels, cameras, *batch)
