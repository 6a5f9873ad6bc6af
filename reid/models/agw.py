"""AGW's parts of a network: non-local attention and generalised-mean pooling (Ye et al. 2021; A.5.6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from reid.models.bottleneck import ExtendedBottleneck

_EPS = 1e-6


class NonLocal(nn.Module):
    """x + BN(W g(x)), g(x) weighted by theta(x)^T phi(x) / positions.

    It is the identity until training moves the norm's weight away from 0.

    Args:
        channels: in and out. The inner width is half of them, as in the non-local paper; AGW's code computes
            1 by mistake.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.out = nn.Sequential(nn.Conv2d(inner, channels, 1), norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> the same shape."""
        theta, phi, g = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))
        weights = theta.transpose(1, 2) @ phi / theta.shape[2]  # [B,HW,HW]
        attended = (g @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.out(attended)


class GeM(nn.Module):
    """Generalised mean over positions: p = 1 averages, infinity takes the maximum; p is learned from 3."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C]; values below 1e-6 count as 1e-6.

        Computed in float32 at least: p-th powers overflow half precision.
        """
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            return x.clamp_min(_EPS).pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)


def use_non_local(net: ResNet) -> None:
    """Puts attention behind the last two bottlenecks of layer2 and the last three of layer3."""
    for layer, width, count in ((net.layer2, 512, 2), (net.layer3, 1024, 3)):
        for place in range(len(layer) - count, len(layer)):
            layer[place] = ExtendedBottleneck(layer[place], behind=NonLocal(width))
