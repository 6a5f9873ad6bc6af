"""Which crops of a site an adaptation sees: balanced over cameras, without near-duplicates. No torch here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from reid.images import Crop

MIN_CROPS = 16  # different crops that BNTA needs; fewer make no batch of pairs
FEWEST_OF_CAMERA = 16  # crops of a camera for a table or centre of its own
# mean absolute difference of two thumbnails in grey levels; consecutive frames of one track lie below
_NEAR = 3.0


def balanced_order(cameras: Sequence[Hashable], seed: int) -> list[int]:
    """Indices in an order in which cameras take turns, so that the first n are balanced; each camera's crops
    are shuffled."""
    kinds = list(dict.fromkeys(cameras))
    number_of = {camera: number for number, camera in enumerate(kinds)}
    shuffled = np.random.default_rng(seed).permutation(len(cameras))
    numbers = np.array([number_of[camera] for camera in cameras], np.int64)[shuffled]
    by_camera = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[by_camera], np.arange(len(kinds)))
    turns = np.empty(len(cameras), np.int64)  # of each crop among the shuffled ones of its camera
    turns[by_camera] = np.arange(len(cameras)) - starts[numbers[by_camera]]
    names = np.unique([str(camera) for camera in kinds], return_inverse=True)[1]
    order: list[int] = shuffled[np.lexsort((shuffled, names[numbers], turns))].tolist()
    return order


class Thumbnails:
    """Remembers what the chosen crops of each camera look like."""

    def __init__(self) -> None:
        self.seen: dict[Hashable, np.ndarray] = {}  # float32 [room,16*8*3]; the first `counts` rows are used
        self.counts: Counter[Hashable] = Counter()

    def is_new(self, crop: Crop, camera: Hashable) -> bool:
        """uint8 [H,W,3]: False when a crop of this camera that looks nearly the same was shown before."""
        small, count = _shrink(crop), self.counts[camera]
        earlier = self.seen.get(camera, np.empty((0, len(small)), np.float32))
        if count and np.abs(earlier[:count] - small).mean(axis=1).min() < _NEAR:
            return False
        if count == len(earlier):
            earlier = np.concatenate([earlier, np.empty((max(16, count), len(small)), np.float32)])
        earlier[count] = small
        self.seen[camera], self.counts[camera] = earlier, count + 1
        return True


def _shrink(crop: Crop) -> np.ndarray:
    """float32 [16*8*3]: block means."""
    height, width = crop.shape[0] // 16 * 16, crop.shape[1] // 8 * 8
    blocks = crop[:height, :width].reshape(16, height // 16, 8, width // 8, 3)
    return blocks.mean(axis=(1, 3), dtype=np.float32).ravel()


def rows_by_camera(cameras: Sequence[str | None]) -> dict[str | None, np.ndarray]:
    """Rows of each camera's crops, int64 ascending; those without a camera stand under None."""
    rows: dict[str | None, list[int]] = defaultdict(list)
    for row, camera in enumerate(cameras):
        rows[camera].append(row)
    return {camera: np.array(numbers, np.int64) for camera, numbers in rows.items()}


def camera_numbers(cameras: Sequence[str | None]) -> np.ndarray:
    """int64 [N]: a number for each camera, and one for crops without."""
    numbers = np.empty(len(cameras), np.int64)
    for number, rows in enumerate(rows_by_camera(cameras).values()):
        numbers[rows] = number
    return numbers


def held_out(cameras: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Rows to judge by and rows to fit to, int64: of each camera, every fourth crop is held out."""
    seen: Counter[Hashable] = Counter()
    held: list[int] = []
    fit: list[int] = []
    for row, camera in enumerate(cameras):
        seen[camera] += 1
        (held if seen[camera] % 4 == 0 else fit).append(row)
    return np.array(held, np.int64), np.array(fit, np.int64)
