"""Instance norm inside a ResNet: IBN-a, DualNorm and SNR, each removing a crop's own style.

Instance norms keep no running statistics, so there is nothing in them to adapt. An exported graph holds them
as plain arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from reid.models.bottleneck import ExtendedBottleneck

_SQUEEZE = 16  # SNR: hidden share of the gate


class InstanceBatchNorm(nn.Module):
    """IBN-a's norm (Pan et al. 2018): instance norm on the first half of the channels, BN on the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.instances = channels // 2
        self.instance = nn.InstanceNorm2d(self.instances, affine=True)
        self.batch = nn.BatchNorm2d(channels - self.instances)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> the same shape."""
        return torch.cat(
            [
                self.instance(x[:, : self.instances].contiguous()),
                self.batch(x[:, self.instances :].contiguous()),
            ],
            dim=1,
        )


class Restored(NamedTuple):
    """The three features of one SNR module, averaged over positions, [B,C] each."""

    normalised: Tensor  # without the style
    relevant: Tensor  # with the part of it that distinguishes identities restored
    irrelevant: Tensor  # with the rest of it restored instead


class StyleRestitution(nn.Module):
    """SNR behind a layer (Jin et al. 2020).

    Instance norm removes the style; a gate restores the part of it that distinguishes identities. In training
    `seen` keeps the three features that its loss compares (`training/losses.py`).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels, affine=True)
        hidden = channels // _SQUEEZE
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )
        self.seen: Restored | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> the same shape."""
        normalised = self.norm(x)
        style = x - normalised
        gate = self.gate(style.mean(dim=(2, 3)))[:, :, None, None]
        restored = normalised + gate * style
        if self.training:
            other = normalised + (1 - gate) * style
            self.seen = Restored(*(m.mean(dim=(2, 3)) for m in (normalised, restored, other)))
        return restored


def use_ibn(net: ResNet) -> None:
    """Replaces the first norm of every bottleneck of layers 1 to 3."""
    for block in (*net.layer1, *net.layer2, *net.layer3):
        block.bn1 = InstanceBatchNorm(block.bn1.num_features)


def use_dualnorm(net: ResNet) -> None:
    """Puts an instance norm between addition and ReLU of the last bottleneck of layers 1 to 3.

    That adds 3,584 parameters (methods A.3.1).
    """
    for layer, width in ((net.layer1, 256), (net.layer2, 512), (net.layer3, 1024)):
        layer[-1] = ExtendedBottleneck(layer[-1], within=nn.InstanceNorm2d(width, affine=True))


def use_snr(net: ResNet) -> None:
    """Puts an SNR module behind each of the four layers."""
    for layer, width in ((net.layer1, 256), (net.layer2, 512), (net.layer3, 1024), (net.layer4, 2048)):
        layer[-1] = ExtendedBottleneck(layer[-1], behind=StyleRestitution(width))


def restitutions(model: nn.Module) -> list[StyleRestitution]:
    """Every SNR module, in order."""
    return [m for m in model.modules() if isinstance(m, StyleRestitution)]
