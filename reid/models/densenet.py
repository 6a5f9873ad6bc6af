"""torchvision's DenseNet-161 and CIFAR's DenseNet-100, alone or as the backbone of PTL."""

from __future__ import annotations

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from reid.models.ptl import SMALL_PLAN, BConvCell, BConvCellV2, CellStream, FeatureLayer, published_stream
from reid.models.recompute import Trunk, run_stage

_WIDTHS = (96, 384, 768, 2112, 2208)  # channels behind the stem and the four dense blocks
_SMALL = (24, 216, 300, 342)  # and behind DenseNet-100's stem and three


class DenseNetTrunk(Trunk):
    """DenseNet-161 up to its last feature map. Parameter names are torchvision's behind `features.`.

    Args:
        ptl: adds a stream of PTL's cells.
        last_stride: of the last dense block; 1 omits the pooling before it.
        feature_layer: without cells, the last map goes through a 1x1 convolution (PTL's plain network).
    """

    def __init__(self, ptl: bool = False, last_stride: int = 1, feature_layer: bool = False) -> None:
        super().__init__()
        self.features = torchvision.models.densenet161(weights=None).features
        if last_stride == 1:
            self.features.transition3.pool = nn.Identity()
        self.stream: nn.Module | None = None
        if ptl:
            self.stream = published_stream(_WIDTHS, last_stride)
        elif feature_layer:
            self.stream = FeatureLayer(_WIDTHS[-1])

    def forward(self, x: Tensor) -> Tensor:
        """float [B,3,H,W], normalised -> [B,2208,H/16,W/16] (last_stride 1) or [B,2208,H/32,W/32]."""
        net = self.features
        maps = [net.pool0(net.relu0(net.norm0(net.conv0(x))))]
        maps.append(run_stage(net.denseblock1, maps[-1], self.recompute))
        maps.append(run_stage(net.denseblock2, net.transition1(maps[-1]), self.recompute))
        maps.append(run_stage(net.denseblock3, net.transition2(maps[-1]), self.recompute))
        maps.append(F.relu(net.norm5(run_stage(net.denseblock4, net.transition3(maps[-1]), self.recompute))))
        return maps[-1] if self.stream is None else self.stream(x, maps)


class SmallDenseNetTrunk(Trunk):
    """DenseNet-BC of 100 layers and growth 12 for 32x32 images (Huang et al. 2017), up to its last map.

    Its error rates in DenseNet's paper, 5.92, 24.15 and 22.27 %, are PTL's first row of Table VII.

    Args:
        cell: `ptl` or `ptl-v2` adds a stream of such cells; "" none.
    """

    def __init__(self, cell: str = "") -> None:
        super().__init__()
        net = torchvision.models.DenseNet(12, (16, 16, 16), 24, bn_size=4).features
        net.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(net.conv0.weight)
        for name in ("norm0", "relu0", "pool0"):  # of ImageNet's stem
            delattr(net, name)
        self.features = net
        cells = {"ptl": BConvCell, "ptl-v2": BConvCellV2}
        self.stream = CellStream(_SMALL, SMALL_PLAN, cells[cell](3, 16, 1), cells[cell]) if cell else None

    def forward(self, x: Tensor) -> Tensor:
        """float [B,3,H,W], normalised -> [B,342,H/4,W/4]."""
        net = self.features
        maps = [net.conv0(x)]
        maps.append(run_stage(net.denseblock1, maps[-1], self.recompute))
        maps.append(run_stage(net.denseblock2, net.transition1(maps[-1]), self.recompute))
        maps.append(F.relu(net.norm5(run_stage(net.denseblock3, net.transition2(maps[-1]), self.recompute))))
        return maps[-1] if self.stream is None else self.stream(x, maps)
