"""MGN, alone or with PTL's cells: three branches of ResNet-50, for whole, halves and thirds (A.4.2)."""

from __future__ import annotations

import copy

import torch
import torchvision
from torch import Tensor, nn

from reid.models.ptl import BConvCell, low_cells, pointwise
from reid.models.recompute import Trunk, run_stage
from reid.models.resnet import unstride

FEATURES, WIDTH = 8, 256  # three of the whole person first, then two halves and three thirds
_STRIPES = (2, 3)  # of the second and the third branch
# prefixes of the parameters that torchvision's network does not have
ADDED = ("reduce.", "low.", "fuse.", "cells.", "branch_cells.")


class MgnTrunk(Trunk):
    """Eight features of 256 numbers, concatenated: [B,2048,1,1], as the rest of an embedder expects.

    The first branch keeps layer4's stride, the others see maps of twice its height. Use it at 384x128, with
    `neck: false` and without self-supervised heads: there is no single feature map for them to cut.

    Args:
        ptl: adds PTL's cells to the backbone, as in the network that PTL's authors published.
        shared_reduction: one reduction to 256 numbers for all features, as in their code; the MGN paper has
            one for each.
    """

    def __init__(self, ptl: bool = False, shared_reduction: bool = False) -> None:
        super().__init__()
        net = torchvision.models.resnet50(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3 = net.layer1, net.layer2, net.layer3[:1]
        coarse = nn.Sequential(*net.layer3[1:], net.layer4)
        fine = copy.deepcopy(coarse)
        unstride(fine[-1])
        self.branches = nn.ModuleList([coarse, fine, copy.deepcopy(fine)])
        self.low = low_cells() if ptl else None
        if ptl:
            self.fuse = nn.ModuleList(
                pointwise(*widths) for widths in ((96, 64), (320, 128), (768, 256), (1536, 512))
            )
            self.cells = nn.ModuleList(
                BConvCell(*widths) for widths in ((64, 64, 1), (128, 256, 2), (256, 512, 2))
            )
            self.branch_cells = nn.ModuleList(BConvCell(512, 128, stride) for stride in (2, 1, 1))
        reductions = 1 if shared_reduction else FEATURES
        self.reduce = nn.ModuleList(pointwise(2048 + (128 if ptl else 0), WIDTH) for _ in range(reductions))
        for norm in self.reduce.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.normal_(norm.weight, 1.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """float [B,3,H,W], normalised, H a multiple of 96 -> [B,2048,1,1]."""
        maps = [self.maxpool(self.relu(self.bn1(self.conv1(x))))]
        for layer in (self.layer1, self.layer2, self.layer3):
            maps.append(run_stage(layer, maps[-1], self.recompute))
        ends = [run_stage(branch, maps[-1], self.recompute) for branch in self.branches]
        if self.low is not None:
            y = self.low(x)
            for x, fuse, cell in zip(maps, self.fuse, self.cells, strict=False):
                y = cell(fuse(torch.cat([x, y], dim=1)))
            y = self.fuse[-1](torch.cat([maps[-1], y], dim=1))
            ends = [
                torch.cat([end, cell(y)], dim=1) for end, cell in zip(ends, self.branch_cells, strict=True)
            ]
        whole = [end.amax(dim=(2, 3), keepdim=True) for end in ends]
        stripes = [
            stripe for end, count in zip(ends[1:], _STRIPES, strict=True) for stripe in _cut(end, count)
        ]
        reductions = list(self.reduce) if len(self.reduce) > 1 else [self.reduce[0]] * FEATURES
        features = zip(reductions, [*whole, *stripes], strict=True)
        return torch.cat([reduction(feature) for reduction, feature in features], dim=1)

    def from_torchvision(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's ResNet-50 under the names used here.

        Every branch starts with a copy of the end of layer3 and of layer4.
        """
        named: dict[str, Tensor] = {}
        for name, tensor in state.items():
            layer, _, rest = name.partition(".")
            block, _, inner = rest.partition(".")
            if layer == "layer3" and block != "0":
                named |= {f"branches.{b}.{int(block) - 1}.{inner}": tensor for b in range(len(self.branches))}
            elif layer == "layer4":
                named |= {f"branches.{b}.5.{rest}": tensor for b in range(len(self.branches))}
            else:
                named[name] = tensor
        return named


def _cut(x: Tensor, count: int) -> list[Tensor]:
    """[B,C,H,W] -> the maximum of each of `count` equal stripes, [B,C,1,1] each."""
    return [stripe.amax(dim=(2, 3), keepdim=True) for stripe in x.chunk(count, dim=2)]
