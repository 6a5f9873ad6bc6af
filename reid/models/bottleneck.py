"""A bottleneck of ResNet-50 with something added to it, under torchvision's parameter names."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck


class ExtendedBottleneck(nn.Module):
    """A bottleneck without downsampling, and what is added to it.

    Args:
        block: torchvision's `Bottleneck`; its layers keep their names.
        within: runs between the addition and the last ReLU. behind: runs after that ReLU.
    """

    def __init__(
        self, block: nn.Module, within: nn.Module | None = None, behind: nn.Module | None = None
    ) -> None:
        super().__init__()
        assert isinstance(block, Bottleneck)
        self.conv1, self.bn1 = block.conv1, block.bn1
        self.conv2, self.bn2 = block.conv2, block.bn2
        self.conv3, self.bn3 = block.conv3, block.bn3
        self.relu = block.relu
        self.within, self.behind = within, behind

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> the same shape."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out)) + x
        out = self.relu(out if self.within is None else self.within(out))
        return out if self.behind is None else self.behind(out)


def added_prefixes(model: nn.Module) -> set[str]:
    """Prefixes of the parameters that torchvision's network does not have."""
    blocks = [name for name, module in model.named_modules() if isinstance(module, ExtendedBottleneck)]
    return {f"{name}.{part}." for name in blocks for part in ("within", "behind")}
