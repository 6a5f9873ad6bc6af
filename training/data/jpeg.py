"""What JPEG leaves of a batch of crops, on any device: baseline, 4:2:0, the quality scale of libjpeg.

Only what the format rounds away is computed; nothing is written and read. ITU-T T.81, annexes A and K; JFIF.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

_BRIGHTNESS = """
    16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99
"""  # table K.1, row by row
_COLOUR = """
    17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
"""  # the upper half of table K.2; the lower one is 99
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def compress(x: Tensor, quality: Tensor) -> Tensor:
    """float32 [B,3,H,W] of whole numbers 0..255, and a quality [B] of 1 to 100 -> the same shape and range.

    As libjpeg does it, edges are repeated until blocks are full, colour has half the pixels in each direction
    and is interpolated when it is read; its integer arithmetic may round single values another way.
    """
    height, width = x.shape[2:]
    x = F.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
    ycc = torch.einsum("oc,bchw->bohw", x.new_tensor(_TO_YCC), x).round()
    brightness = _quantised(ycc[:, :1] - 128, quality, _BRIGHTNESS) + 128
    small = F.avg_pool2d(ycc[:, 1:], 2).round()  # [B,2,H/2,W/2]
    small = _quantised(small, quality, _COLOUR)
    colour = F.interpolate(small, scale_factor=2, mode="bilinear")
    rgb = torch.einsum("oc,bchw->bohw", x.new_tensor(_TO_RGB), torch.cat([brightness, colour], 1))
    return rgb[:, :, :height, :width].round().clamp(0, 255)


def _quantised(plane: Tensor, quality: Tensor, table: str) -> Tensor:
    """float [B,C,H,W] around 0 -> what is left of it in blocks of 8x8, whole numbers -128..127."""
    count, channels, height, width = plane.shape
    dct = _dct(plane.device)
    steps = _steps(quality, _table(table, plane.device))[:, None, None, None]  # [B,1,1,1,8,8]
    blocks = plane.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    waves = ((dct @ blocks @ dct.T) / steps).round() * steps
    left = (dct.T @ waves @ dct).transpose(3, 4).reshape(plane.shape)
    return left.round().clamp(-128, 127)


def _steps(quality: Tensor, table: Tensor) -> Tensor:
    """[B] -> float [B,8,8]: what each wave is rounded to a multiple of."""
    quality = quality.float()
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    return ((table * percent[:, None, None] + 50) / 100).floor().clamp(1, 255)


@functools.cache
def _table(text: str, device: torch.device) -> Tensor:
    values = torch.tensor([float(word) for word in text.split()], device=device)
    return F.pad(values, (0, 64 - len(values)), value=99).view(8, 8)


@functools.cache
def _dct(device: torch.device) -> Tensor:
    """float32 [8,8]: row k is the cosine of frequency k, of length 1."""
    rows = torch.arange(8)[:, None] * (2 * torch.arange(8) + 1) * math.pi / 16
    waves = torch.cos(rows) / 2
    waves[0] /= math.sqrt(2)
    return waves.to(device)
