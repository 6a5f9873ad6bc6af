"""Batches of P identities x K crops, with guarantees (methods A.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from training.data.records import DatasetError


def crops_by_identity(labels: Sequence[int], p: int) -> dict[int, np.ndarray]:
    """Record indices int64 [n] of each identity. Raises DatasetError for fewer than P identities."""
    array = np.asarray(labels)
    crops = {int(label): np.flatnonzero(array == label) for label in np.unique(array)}
    if len(crops) < p:
        raise DatasetError(
            f"a batch needs {p} identities, the data has {len(crops)}; set batch_identities lower"
        )
    return crops


class IdentitySampler:
    """Batches of exactly P identities with exactly K crops each.

    - An identity with fewer than K crops repeats some; with one crop it appears K times (differently
      augmented).
    - An epoch visits every identity about as often as it has chunks of K crops; its length is known
      beforehand.
    - The same (seed, epoch) gives the same batches on every machine.
    - With `prefer_cross_camera` a chunk takes its crops from as many cameras as it can.

    Args:
        labels, cameras: identity and camera of every record.
        p: identities in a batch. k: crops of each.
        seed: of the order; the epoch is mixed in by `batches`.

    Raises DatasetError for fewer than P identities.
    """

    def __init__(
        self,
        labels: Sequence[int],
        cameras: Sequence[int],
        p: int,
        k: int,
        seed: int,
        prefer_cross_camera: bool = False,
    ) -> None:
        self.p, self.k, self.seed, self.prefer_cross_camera = p, k, seed, prefer_cross_camera
        self.cameras = np.asarray(cameras)
        self.indices = crops_by_identity(labels, p)
        self.chunks = {label: max(1, len(idx) // k) for label, idx in self.indices.items()}

    def __len__(self) -> int:
        """Batches of an epoch.

        Each holds P different identities, so not every chunk of the identities with most of them may be used.
        """
        left = np.sort(np.fromiter(self.chunks.values(), dtype=np.int64))
        low, high = 0, int(left.sum()) // self.p
        while low < high:
            n = (low + high + 1) // 2
            # n batches are possible if their n * P places can be filled with at most n chunks of an identity
            if np.minimum(left, n).sum() >= n * self.p:
                low = n
            else:
                high = n - 1
        return low

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """The batches of an epoch, each a list of P*K record indices grouped by identity."""
        rng = np.random.default_rng((self.seed, epoch))
        waiting = {label: self._chunk(label, rng) for label in self.indices}
        for remaining in range(len(self), 0, -1):
            labels = list(waiting)
            left = np.array([len(waiting[label]) for label in labels])
            chosen = self._choose(left, remaining, rng)
            batch: list[int] = []
            for i in chosen:
                batch += waiting[labels[i]].pop()
            waiting = {label: chunks for label, chunks in waiting.items() if chunks}
            yield batch

    def _choose(self, left: np.ndarray, remaining: int, rng: np.random.Generator) -> np.ndarray:
        """P identities, drawn without replacement in proportion to the chunks they have left.

        An identity with a chunk for every remaining batch must be in this one, or the last batches could not
        be filled.
        """
        # Efraimidis and Spirakis: the P smallest are a weighted draw
        keys = rng.exponential(size=len(left)) / left
        keys[left >= remaining] -= keys.max() + 1
        return np.argsort(keys, kind="stable")[: self.p]

    def _chunk(self, label: int, rng: np.random.Generator) -> list[list[int]]:
        indices = rng.permutation(self.indices[label])
        if self.prefer_cross_camera:
            indices = _spread(indices, self.cameras[indices])
        if len(indices) < self.k:
            indices = np.concatenate([indices, rng.choice(indices, self.k - len(indices))])
        return [[int(i) for i in indices[c * self.k : (c + 1) * self.k]] for c in range(self.chunks[label])]


class DomainSampler:
    """Batches with P x K crops of every domain, for methods that treat domains apart (methods A.1.3).

    An epoch lasts as long as the domain with most batches; the others start again, in another order, as often
    as needed.

    Args:
        labels, cameras, domains: of every record. p, k, seed: as for one domain.
        make: the sampler of one domain.

    Raises DatasetError for a domain with fewer than P identities.
    """

    def __init__(
        self,
        labels: Sequence[int],
        cameras: Sequence[int],
        domains: Sequence[int],
        p: int,
        k: int,
        seed: int,
        make: Callable[[Sequence[int], Sequence[int], int, int, int], Any] = IdentitySampler,
    ) -> None:
        self.records: list[list[int]] = [[] for _ in range(max(domains) + 1)]  # of each domain
        for record, domain in enumerate(domains):
            self.records[domain].append(record)
        self.samplers: list[Any] = []
        for domain, records in enumerate(self.records):
            domain_labels, domain_cameras = [labels[i] for i in records], [cameras[i] for i in records]
            try:
                sampler = make(domain_labels, domain_cameras, p, k, seed + domain)
            except DatasetError as error:
                raise DatasetError(f"domain {domain}: {error}") from error
            self.samplers.append(sampler)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return max(len(sampler) for sampler in self.samplers)

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """The batches of an epoch, each a list of record indices, domain after domain."""
        endless = [self._endless(d, epoch) for d in range(len(self.samplers))]
        for _ in range(len(self)):
            batch: list[int] = []
            for stream in endless:
                batch += next(stream)
            yield batch

    def _endless(self, domain: int, epoch: int) -> Iterator[list[int]]:
        turns = -(-len(self) // len(self.samplers[domain]))
        for turn in range(turns):
            for batch in self.samplers[domain].batches(epoch * turns + turn):
                yield [self.records[domain][i] for i in batch]


def _spread(indices: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Reorders indices so that cameras alternate as long as they can."""
    turn = np.zeros(len(indices), dtype=np.int64)
    for camera in np.unique(cameras):
        places = np.flatnonzero(cameras == camera)
        turn[places] = np.arange(len(places))
    return indices[np.argsort(turn, kind="stable")]
