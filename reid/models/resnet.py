"""torchvision's ResNet with re-identification's two changes to it, and the variants built on it."""

from __future__ import annotations

from collections.abc import Callable

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from reid.models.agw import use_non_local
from reid.models.dcsd import DynamicConv
from reid.models.norms import use_dualnorm, use_ibn, use_snr
from reid.models.ptl import FeatureLayer, published_stream
from reid.models.recompute import Trunk, run_stage

_WIDTHS = (64, 256, 512, 1024, 2048)  # channels behind the stem and the four layers of ResNet-50
_EDITS: dict[str, Callable[[ResNet], None]] = {
    "ibn": use_ibn,
    "dualnorm": use_dualnorm,
    "snr": use_snr,
    "agw": use_non_local,
}


class ResNetTrunk(Trunk):
    """A ResNet up to its last feature map.

    Parameter names are torchvision's (`conv1`, `bn1`, `layer1.0.conv1`, ...), so its checkpoints load
    directly.

    Args:
        depth: 18 or 50. variant: of ResNet-50: ibn, dualnorm, snr, agw, dcsd, agw-dcsd or ptl; "" is the
            plain one.
        last_stride: stride of layer4; 1 doubles the last map in both directions, without more weights (BoT,
            section 3.4).
        stem_relu: False reproduces the BoT and M3L code, which lost the ReLU behind the stem (methods A.0.1).
        domain_branch, camera_branch: of DCSD's modules; `ModelSpec` refuses them for the other variants.
        feature_layer: the last map goes through a 1x1 convolution (PTL's plain network).
    """

    mixed_stages = (0, 1)  # at a quarter and an eighth of the input's size

    def __init__(
        self,
        depth: int = 50,
        variant: str = "",
        last_stride: int = 1,
        stem_relu: bool = True,
        domain_branch: bool = True,
        camera_branch: bool = True,
        feature_layer: bool = False,
    ) -> None:
        super().__init__()
        net = (torchvision.models.resnet18 if depth == 18 else torchvision.models.resnet50)(weights=None)
        if last_stride == 1:
            unstride(net.layer4[0])
        if variant.endswith("dcsd"):
            for block in (*net.layer1, *net.layer2, *net.layer3, *net.layer4):
                block.conv2 = DynamicConv(
                    block.conv2.in_channels, block.conv2.stride[0], domain_branch, camera_branch
                )
        edit = variant.removesuffix("-dcsd")
        if edit in _EDITS:
            _EDITS[edit](net)
        self.conv1, self.bn1, self.maxpool = net.conv1, net.bn1, net.maxpool
        self.relu = nn.ReLU(inplace=True) if stem_relu else nn.Identity()
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.stream: nn.Module | None = None
        if variant == "ptl":
            self.stream = published_stream(_WIDTHS, last_stride)
        elif feature_layer:
            self.stream = FeatureLayer(_WIDTHS[-1])

    def forward(self, x: Tensor) -> Tensor:
        """float [B,3,H,W], normalised -> [B,channels,H/16,W/16] (last_stride 1) or [B,channels,H/32,W/32]."""
        maps = [self.maxpool(self.relu(self.bn1(self.conv1(x))))]
        for number, layer in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            maps.append(self.behind_stage(number, run_stage(layer, maps[-1], self.recompute)))
        return maps[-1] if self.stream is None else self.stream(x, maps)


def unstride(block: nn.Module) -> None:
    """Sets both strided convolutions of a residual block (3x3 and shortcut) to stride 1."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
