"""Augmentation of uint8 crops, each draw seeded by (seed, epoch, position).

A resumed run and another machine therefore see the same batches. Order as in the BoT code: flip, pad, crop,
(normalise,) erase. Normalisation is inside the model, so erasing paints the model's mean pixel, which
normalisation maps to 0 (methods A.8, row 13), unless `photometric.py` changes its colour afterwards.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from training.checks import at_least, within


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Probabilities and sizes of the training augmentation (BoT section 3)."""

    flip: float = 0.5
    pad: int = 10
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: float = 0.3

    def __post_init__(self) -> None:
        within(0, 1, self, "flip", "erase", "erase_area")
        within(0.01, 1, self, "erase_aspect")
        at_least(0, self, "pad")
        if self.erase_area[0] > self.erase_area[1]:
            raise ValueError(f"erase_area is {list(self.erase_area)}; put the smaller share first")

    def __call__(
        self, crop: np.ndarray, rng: np.random.Generator, mean_pixel: tuple[int, int, int]
    ) -> np.ndarray:
        """uint8 [H,W,3] -> uint8 [H,W,3], a new array; erasing paints `mean_pixel` (RGB 0..255)."""
        height, width = crop.shape[:2]
        if rng.random() < self.flip:
            crop = crop[:, ::-1]
        if self.pad:
            canvas = np.zeros((height + 2 * self.pad, width + 2 * self.pad, 3), np.uint8)
            canvas[self.pad : self.pad + height, self.pad : self.pad + width] = crop
            top, left = rng.integers(0, 2 * self.pad + 1, size=2)
            crop = canvas[top : top + height, left : left + width]
        crop = np.ascontiguousarray(crop).copy()
        if rng.random() < self.erase:
            self._erase(crop, rng, mean_pixel)
        return crop

    def _erase(self, crop: np.ndarray, rng: np.random.Generator, mean_pixel: tuple[int, int, int]) -> None:
        height, width = crop.shape[:2]
        for _ in range(100):
            area = rng.uniform(*self.erase_area) * height * width
            aspect = rng.uniform(self.erase_aspect, 1 / self.erase_aspect)
            h, w = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
            if h < height and w < width:
                top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
                crop[top : top + h, left : left + w] = mean_pixel
                return
