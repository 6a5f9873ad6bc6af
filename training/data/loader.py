"""Records -> batches of tensors.

Crops are decoded once and kept in memory; the next batch is augmented while the current one trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid.batches import Progress
from reid.images import ImageError, resize
from training.data.early_size import EarlySize
from training.data.photometric import Draws, Photometric, change
from training.data.pixels import read_crop
from training.data.records import DatasetError, Record
from training.data.transforms import Augmentation

NOTHING = Photometric()  # changes no colours
WHOLE = EarlySize()  # changes no size
CPU = torch.device("cpu")


class Batch(NamedTuple):
    """One training batch."""

    crops: Tensor  # uint8 [B,H,W,3]
    labels: Tensor  # int64 [B], 0..n-1
    cameras: Tensor  # int64 [B]
    domains: Tensor  # int64 [B], which of the joined datasets
    places: Tensor  # int64 [B], indices of the crops among the training records

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(*(column.to(device) for column in self))


def load_crops(
    records: Sequence[Record],
    height: int,
    width: int,
    interpolation: str = "bilinear",
    threads: int = 4,
    progress: Progress | None = None,
) -> np.ndarray:
    """Decodes and resizes every record -> uint8 [N,H,W,3]; `progress` is called now and then.

    Raises DatasetError naming a file that cannot be read.
    """

    def load(record: Record) -> np.ndarray:
        try:
            return resize(read_crop(record.path), height, width, interpolation)
        except (OSError, ImageError) as error:
            raise DatasetError(f"{record.path}: {error}") from error

    crops = np.empty((len(records), height, width, 3), np.uint8)
    with ThreadPoolExecutor(threads) as pool:
        for i, crop in enumerate(pool.map(load, records, chunksize=64)):
            crops[i] = crop
            if progress is not None and (i % 64 == 63 or i == len(records) - 1):
                progress(i + 1, len(records))
    return crops


class TrainingLoader:
    """Augments and stacks the batches of a sampler.

    Args:
        crops: uint8 [N,H,W,3]. labels, cameras, domains: of length N.
        augment: applied to every crop. seed: mixed with epoch and position, so that a resumed run sees the
            same pixels.
        mean_pixel: RGB 0..255 that erasing paints, `ModelSpec.mean_pixel`.
        photometric: changes of colour and sharpness. device: that computes them, and holds the batches.
        early: the size that batches of the first epochs are scaled to, when everything else is done.
    """

    def __init__(
        self,
        crops: np.ndarray,
        labels: Sequence[int],
        cameras: Sequence[int],
        domains: Sequence[int],
        augment: Augmentation,
        seed: int,
        mean_pixel: tuple[int, int, int],
        photometric: Photometric = NOTHING,
        device: torch.device = CPU,
        early: EarlySize = WHOLE,
    ) -> None:
        self.photometric, self.device, self.early = photometric, device, early
        self.crops, self.augment, self.seed, self.mean_pixel = crops, augment, seed, mean_pixel
        self.columns = [
            np.asarray(values, np.int64) for values in (labels, cameras, domains, range(len(labels)))
        ]

    def epoch(
        self,
        epoch: int,
        batches: Iterable[list[int]],
        slots: Callable[[int], list[list[int]]] | None = None,
        skip: int = 0,
    ) -> Iterator[list[Batch]]:
        """The batches of an epoch from number `skip` on.

        Args:
            slots: size of a batch -> its places that form each shard; without it a batch is one shard.
        """

        def collate(number: int, indices: list[int]) -> list[Batch]:
            shards = slots(len(indices)) if slots else [list(range(len(indices)))]
            return [self._collate(epoch, number, indices, shard) for shard in shards]

        with ThreadPoolExecutor(1) as pool:
            pending = None
            for number, indices in enumerate(batches):
                if number < skip:
                    continue
                following = pool.submit(collate, number, indices)
                if pending is not None:
                    yield pending.result()
                pending = following
            if pending is not None:
                yield pending.result()

    def _collate(self, epoch: int, number: int, indices: list[int], slots: list[int]) -> Batch:
        crops = np.empty((len(slots), *self.crops.shape[1:]), np.uint8)
        draws = np.empty((len(slots), len(Draws._fields)), np.float32)
        for place, slot in enumerate(slots):
            rng = np.random.default_rng((self.seed, epoch, number, slot))
            crops[place] = self.augment(self.crops[indices[slot]], rng, self.mean_pixel)
            if self.photometric.changes:
                draws[place] = self.photometric.draw(rng)
        chosen = np.asarray(indices)[slots]
        arrays = [crops, *(column[chosen] for column in self.columns)]
        batch = Batch(*(torch.from_numpy(array) for array in arrays)).to(self.device)
        if self.photometric.changes:
            batch = batch._replace(crops=change(batch.crops, torch.from_numpy(draws).to(self.device)))
        return batch._replace(crops=self.early(batch.crops, epoch))
