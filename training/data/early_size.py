"""Fewer pixels for the first epochs: most of what is learned there costs a quarter at half the size."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from training.checks import at_least


@dataclasses.dataclass(frozen=True)
class EarlySize:
    """The size of crops in the first epochs; later ones have the model's. Changes nothing by default."""

    epochs: int = 0  # how many; 0 for none
    height: int = 128
    width: int = 64

    def __post_init__(self) -> None:
        at_least(0, self, "epochs")
        at_least(32, self, "height")
        at_least(16, self, "width")

    def __call__(self, crops: Tensor, epoch: int) -> Tensor:
        """uint8 [B,H,W,3] as augmented -> uint8 [B,h,w,3]; epochs count from 1."""
        size = (self.height, self.width)
        if epoch > self.epochs or tuple(crops.shape[1:3]) == size:
            return crops
        x = F.interpolate(crops.permute(0, 3, 1, 2).float(), size, mode="bilinear", antialias=True)
        return x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
