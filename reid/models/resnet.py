"""torchvision's ResNet with the two changes re-identification makes to it."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from reid.models.dcsd import DynamicConv
from reid.models.ptl import CellStream

TRUNKS = {
    "resnet18": (torchvision.models.resnet18, 512),
    "resnet50": (torchvision.models.resnet50, 2048),
    "resnet50-dcsd": (torchvision.models.resnet50, 2048),
    "resnet50-ptl": (torchvision.models.resnet50, 2048),
}


class Trunk(nn.Module):
    """A ResNet up to its last feature map.

    Parameter names are torchvision's (`conv1`, `bn1`, `layer1.0.conv1`, ...), so its checkpoints load unchanged.

    Args:
        arch: a key of `TRUNKS`.
        last_stride: stride of layer4; 1 doubles the last map in both directions (BoT, section 3.3) and adds no weight.
        domain_branch, camera_branch: of DCSD's modules; the other architectures have none.
        stem_relu: False reproduces the BoT and M3L code, which lost the ReLU behind the stem (methods A.0.1).
    """

    def __init__(
        self, arch: str = "resnet50", last_stride: int = 1, stem_relu: bool = True, domain_branch: bool = True, camera_branch: bool = True
    ) -> None:
        super().__init__()
        if arch not in TRUNKS:
            raise ValueError(f"unknown architecture {arch!r}; known: {', '.join(TRUNKS)}")
        if last_stride not in (1, 2):
            raise ValueError(f"last_stride must be 1 or 2, not {last_stride}")
        make, self.channels = TRUNKS[arch]
        net = make(weights=None)
        if last_stride == 1:
            _unstride(net.layer4[0])
        if arch.endswith("-dcsd"):
            for block in (*net.layer1, *net.layer2, *net.layer3, *net.layer4):
                block.conv2 = DynamicConv(block.conv2.in_channels, block.conv2.stride[0], domain_branch, camera_branch)
        self.conv1, self.bn1, self.maxpool = net.conv1, net.bn1, net.maxpool
        self.relu = nn.ReLU(inplace=True) if stem_relu else nn.Identity()
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.stream = CellStream(self.channels, last_stride) if arch.endswith("-ptl") else None

    def forward(self, x: Tensor) -> Tensor:
        """float [B,3,H,W], normalised -> [B,channels,H/16,W/16] (last_stride 1) or [B,channels,H/32,W/32]."""
        maps = [self.maxpool(self.relu(self.bn1(self.conv1(x))))]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps[-1] if self.stream is None else self.stream(x, maps)


def _unstride(block: nn.Module) -> None:
    """Sets both strided convolutions of a residual block (3x3 and shortcut) to stride 1."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)


def load_imagenet(trunk: Trunk, state: dict[str, Tensor]) -> None:
    """Loads a torchvision ImageNet state dict into the trunk; its `fc` is ignored, anything else missing is an error.

    DCSD's modules and PTL's stream have no counterpart in it and keep their initialisation; everything else is loaded.
    """
    own = {name for name, module in trunk.named_modules() if isinstance(module, (DynamicConv, CellStream))}

    def loads(name: str) -> bool:
        return not name.startswith("fc.") and not any(name.startswith(f"{module}.") for module in own)

    kept = {name: tensor for name, tensor in trunk.state_dict().items() if not loads(name)}
    trunk.load_state_dict({k: v for k, v in state.items() if loads(k)} | kept, strict=True)
