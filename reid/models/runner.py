"""Runs crops through a torch network without training it: the one place where that is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

import numpy as np
import torch
from torch import Tensor

from reid.batches import BATCH, Progress, in_batches
from reid.crops import checked_crops
from reid.models.build import Embedder, PixelEmbedder

Device = Union[str, torch.device]


def run_crops(
    function: Callable[[Tensor], Tensor],
    crops: np.ndarray,
    device: Device = "cpu",
    batch: int = BATCH,
    progress: Progress | None = None,
) -> np.ndarray:
    """float32 [N, ...] of what `function` returns for crops uint8 [N,H,W,3], in inference mode.

    Args:
        function: uint8 [B,H,W,3] on the device -> [B, ...]; a network must be there already, in the mode
            that it is to run in.
        batch: crops on the device at a time. progress: called after each batch.
    """

    def compute(rows: slice) -> np.ndarray:
        on_device = torch.from_numpy(np.ascontiguousarray(crops[rows])).to(device)
        return function(on_device).float().cpu().numpy()

    with torch.inference_mode():
        return in_batches(len(crops), compute, batch, progress)


class CropRunner:
    """An embedder in eval mode on a device.

    Args:
        embedder: put into eval mode and moved to the device; it is not copied.
    """

    def __init__(self, embedder: Embedder, device: Device = "cpu") -> None:
        self.pixels = PixelEmbedder(embedder).eval().to(device)
        self.device = device

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8 [N,H,W,3] of the network's size -> float32 [N,D], unit length.

        Raises CropsError for other crops.
        """
        spec = self.pixels.embedder.spec
        return run_crops(self.pixels, checked_crops(crops, spec.height, spec.width), self.device)
