"""P identities x K crops a batch, with guarantees (methods A.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from training.data.records import DatasetError


class IdentitySampler:
    """Batches of exactly P identities with exactly K crops each.

    - An identity with fewer than K crops repeats some; with one crop it appears K times (differently
    augmented). - An epoch visits every identity about as often as it has chunks of K crops; its length is
    known beforehand. - The same (seed, epoch) gives the same batches on every machine. - With
    `prefer_cross_camera` a chunk takes its crops from as many cameras as it can.

    Args:
        labels: identity of every record.
        cameras: camera of every record.
        p: identities a batch. k: crops an identity.
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
        array = np.asarray(labels)
        self.indices = {int(label): np.flatnonzero(array == label) for label in np.unique(array)}
        if len(self.indices) < p:
            raise DatasetError(
                f"a batch needs {p} identities, the data has {len(self.indices)}; set batch_identities lower"
            )
        self.chunks = {label: max(1, len(idx) // k) for label, idx in self.indices.items()}

    def __len__(self) -> int:
        """Batches an epoch: P different identities each, so the identities with most chunks may be cut
        short."""
        left = np.sort(np.fromiter(self.chunks.values(), dtype=np.int64))
        low, high = 0, int(left.sum()) // self.p
        while (
            low < high
        ):  # n batches are possible if n*P slots can be filled with at most n chunks an identity
            n = (low + high + 1) // 2
            low, high = (n, high) if np.minimum(left, n).sum() >= n * self.p else (low, n - 1)
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
        """P identities, drawn in proportion to the chunks they have left, without replacement.

        An identity with a chunk for every remaining batch must be in this one, or the last batches could not
        be filled.
        """
        keys = (
            rng.exponential(size=len(left)) / left
        )  # Efraimidis and Spirakis: the P smallest are a weighted draw
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
    """Batches that hold one batch of P x K of every domain, for methods that tell domains apart (methods
    A.1.3).

    An epoch lasts as long as the domain with most batches; the others begin anew, in another order, as often
    as needed.

    Args:
        labels, cameras, domains: of every record. p, k, seed: as for one domain.
    """

    def __init__(
        self, labels: Sequence[int], cameras: Sequence[int], domains: Sequence[int], p: int, k: int, seed: int
    ) -> None:
        self.where = [[i for i, own in enumerate(domains) if own == d] for d in range(max(domains) + 1)]
        self.samplers: list[IdentitySampler] = []
        for d, own in enumerate(self.where):
            try:
                self.samplers.append(
                    IdentitySampler([labels[i] for i in own], [cameras[i] for i in own], p, k, seed + d)
                )
            except DatasetError as error:
                raise DatasetError(f"domain {d}: {error}") from error

    def __len__(self) -> int:
        """Batches an epoch."""
        return max(len(sampler) for sampler in self.samplers)

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """The batches of an epoch, each a list of record indices, domain after domain."""
        endless = [self._endless(d, epoch) for d in range(len(self.samplers))]
        for _ in range(len(self)):
            yield [index for stream in endless for index in next(stream)]

    def _endless(self, domain: int, epoch: int) -> Iterator[list[int]]:
        turns = -(-len(self) // len(self.samplers[domain]))
        for turn in range(turns):
            for batch in self.samplers[domain].batches(epoch * turns + turn):
                yield [self.where[domain][i] for i in batch]


def _spread(indices: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Reorders indices so that cameras alternate as long as they can."""
    turn = np.zeros(len(indices), dtype=np.int64)
    for camera in np.unique(cameras):
        where = np.flatnonzero(cameras == camera)
        turn[where] = np.arange(len(where))
    return indices[np.argsort(turn, kind="stable")]
