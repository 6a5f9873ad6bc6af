"""torchvision's DenseNet-161, alone or as the backbone of PTL."""

from __future__ import annotations

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from reid.models.ptl import CellStream
from reid.models.recompute import Trunk, run_stage

_WIDTHS = (96, 384, 768, 2112, 2208)  # channels behind the stem and the four dense blocks


class DenseNetTrunk(Trunk):
    """DenseNet-161 up to its last feature map. Parameter names are torchvision's behind `features.`.

    Args:
        ptl: adds a stream of PTL's cells.
        last_stride: of the last dense block; 1 omits the pooling before it.
    """

    def __init__(self, ptl: bool = False, last_stride: int = 1) -> None:
        super().__init__()
        self.features = torchvision.models.densenet161(weights=None).features
        if last_stride == 1:
            self.features.transition3.pool = nn.Identity()
        self.stream = CellStream(_WIDTHS, last_stride) if ptl else None

    def forward(self, x: Tensor) -> Tensor:
        """float [B,3,H,W], normalised -> [B,2208,H/16,W/16] (last_stride 1) or [B,2208,H/32,W/32]."""
        net = self.features
        maps = [net.pool0(net.relu0(net.norm0(net.conv0(x))))]
        maps.append(run_stage(net.denseblock1, maps[-1], self.recompute))
        maps.append(run_stage(net.denseblock2, net.transition1(maps[-1]), self.recompute))
        maps.append(run_stage(net.denseblock3, net.transition2(maps[-1]), self.recompute))
        maps.append(F.relu(net.norm5(run_stage(net.denseblock4, net.transition3(maps[-1]), self.recompute))))
        return maps[-1] if self.stream is None else self.stream(x, maps)
