"""Every network by name: what stands in a recipe's and a bundle's `arch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from reid.models.agw import GeM
from reid.models.bottleneck import added_prefixes
from reid.models.dcsd import DynamicConv
from reid.models.densenet import DenseNetTrunk
from reid.models.mgn import ADDED, MgnTrunk
from reid.models.norms import InstanceBatchNorm
from reid.models.ptl import CellStream
from reid.models.recompute import Trunk
from reid.models.resnet import ResNetTrunk

if TYPE_CHECKING:
    from reid.models.build import ModelSpec


class Kind(NamedTuple):
    """One network."""

    make: Callable[[ModelSpec], Trunk]
    channels: int
    pool: Callable[[], nn.Module] | None = None  # None: the mean
    rows: int = 16  # the height must be a multiple of it
    cut: bool = False  # True: it cuts its own stripes and has no feature map


def _resnet(variant: str, depth: int = 50) -> Callable[[ModelSpec], Trunk]:
    return lambda spec: ResNetTrunk(
        depth, variant, spec.last_stride, spec.stem_relu, spec.domain_branch, spec.camera_branch
    )


TRUNKS = {
    "resnet18": Kind(_resnet("", 18), 512),
    "resnet50": Kind(_resnet(""), 2048),
    "resnet50-ibn": Kind(_resnet("ibn"), 2048),
    "resnet50-dualnorm": Kind(_resnet("dualnorm"), 2048),
    "resnet50-snr": Kind(_resnet("snr"), 2048),
    "resnet50-agw": Kind(_resnet("agw"), 2048, pool=GeM),
    "resnet50-dcsd": Kind(_resnet("dcsd"), 2048),
    "resnet50-ptl": Kind(_resnet("ptl"), 2048),
    "densenet161": Kind(lambda spec: DenseNetTrunk(False, spec.last_stride), 2208),
    "densenet161-ptl": Kind(lambda spec: DenseNetTrunk(True, spec.last_stride), 2208),
    "mgn": Kind(lambda _: MgnTrunk(False), 2048, rows=96, cut=True),
    "mgn-ptl": Kind(lambda _: MgnTrunk(True), 2048, rows=96, cut=True),
}


def load_imagenet(trunk: nn.Module, state: dict[str, Tensor]) -> None:
    """Loads a torchvision ImageNet state dict into the trunk; its classifier is ignored, anything else
    missing is an error.

    What re-identification added to the network has no counterpart in it and keeps its initialisation. IBN's
    norms do too: what they replaced has other statistics.
    """
    own = added_prefixes(trunk)
    own |= {
        f"{name}."
        for name, module in trunk.named_modules()
        if isinstance(module, (DynamicConv, CellStream, InstanceBatchNorm))
    }

    if isinstance(trunk, MgnTrunk):
        own |= set(ADDED)

    def loads(name: str) -> bool:
        return not name.startswith(("fc.", "classifier.")) and not any(
            name.startswith(prefix) for prefix in own
        )

    kept = {name: tensor for name, tensor in trunk.state_dict().items() if not loads(name)}
    given = {k: v for k, v in state.items() if loads(k)}
    trunk.load_state_dict(
        (trunk.from_torchvision(given) if isinstance(trunk, MgnTrunk) else given) | kept, strict=True
    )
