"""EfficientNet-Lite (Tan and Le 2019; the Lite variants of 2020): inverted residuals without attention.

Every norm is a BatchNorm and every activation a ReLU6, so that adaptation and folding work as for a ResNet,
at about a tenth of ResNet-50's multiplications.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from reid.models.recompute import Trunk, run_stage

_STEM, _HEAD = 32, 1280  # channels; the Lite variants do not scale them


class _Stage(NamedTuple):
    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


_STAGES = (
    _Stage(3, 1, 1, 16, 1),
    _Stage(3, 2, 6, 24, 2),
    _Stage(5, 2, 6, 40, 2),
    _Stage(3, 2, 6, 80, 3),
    _Stage(5, 1, 6, 112, 3),
    _Stage(5, 2, 6, 192, 4),
    _Stage(3, 1, 6, 320, 1),
)
_LAST_STRIDED = 5  # the stage whose stride `last_stride` sets
_SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}  # of width and depth


class EfficientNetTrunk(Trunk):
    """EfficientNet-Lite up to its last feature map, with 1,280 channels.

    Args:
        variant: lite0, lite1 or lite2.
        last_stride: of the sixth stage; 1 doubles the last map in both directions, without more weights.
    """

    mixed_stages = (1, 2)  # at a quarter and an eighth of the input's size

    def __init__(self, variant: str, last_stride: int = 1) -> None:
        super().__init__()
        width, depth = _SCALES[variant]
        self.stem = ConvNorm(3, _STEM, 3, stride=2)
        self.stages = nn.ModuleList()
        channels = _STEM
        for number, stage in enumerate(_STAGES):
            ends = number in (0, len(_STAGES) - 1)  # their depth is not scaled
            blocks = stage.blocks if ends else math.ceil(depth * stage.blocks)
            stride = last_stride if number == _LAST_STRIDED else stage.stride
            wide = _scaled(stage.channels, width)
            layers = nn.Sequential(InvertedResidual(channels, wide, stage.kernel, stride, stage.expansion))
            for _ in range(blocks - 1):
                layers.append(InvertedResidual(wide, wide, stage.kernel, 1, stage.expansion))
            self.stages.append(layers)
            channels = wide
        self.head = ConvNorm(channels, _HEAD, 1)

    def forward(self, x: Tensor) -> Tensor:
        """float [B,3,H,W], normalised -> [B,1280,H/16,W/16] (last_stride 1) or [B,1280,H/32,W/32]."""
        x = self.stem(x)
        for number, stage in enumerate(self.stages):
            x = self.behind_stage(number, run_stage(stage, x, self.recompute))
        return self.head(x)


class InvertedResidual(nn.Module):
    """1x1 to more channels, a convolution of each channel by itself, 1x1 back; plus the input, if it fits.

    No activation follows the last norm.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = ConvNorm(channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(inner, inner, kernel, stride, groups=inner)
        self.project = ConvNorm(inner, out, 1, activation=False)
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,out,H/stride,W/stride]."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and, if wanted, ReLU6.

    A strided convolution pads one pixel more at the right and at the bottom, as TensorFlow does for even
    sizes: that is how the ImageNet weights were trained.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        before, after = (kernel - stride) // 2, kernel - stride - (kernel - stride) // 2
        self.pad = (before, after, before, after) if stride > 1 else None
        padding = 0 if stride > 1 else kernel // 2
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.activation = nn.ReLU6(inplace=True) if activation else nn.Identity()
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,out,H/stride,W/stride]."""
        if self.pad is not None:
            x = F.pad(x, self.pad)
        return self.activation(self.bn(self.conv(x)))


def _scaled(channels: int, width: float) -> int:
    """Channels times width, rounded to a multiple of eight and never by more than a tenth downwards."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
