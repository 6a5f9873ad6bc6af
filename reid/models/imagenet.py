"""Published weights into a trunk: torchvision's, or what `resight weights convert` writes."""

from __future__ import annotations

from torch import Tensor, nn

from reid.models.bottleneck import added_prefixes
from reid.models.dcsd import DynamicConv
from reid.models.mgn import ADDED, MgnTrunk
from reid.models.norms import InstanceBatchNorm
from reid.models.ptl import CellStream, FeatureLayer
from reid.models.published import our_name

_CLASSIFIERS = ("fc.", "classifier.")  # of torchvision's networks; a trunk has none


def load_imagenet(trunk: nn.Module, state: dict[str, Tensor]) -> tuple[str, ...]:
    """Loads an ImageNet state dict into the trunk, without its classifier.

    What re-identification added to a network has no counterpart there and keeps its initialisation. IBN's
    norms do too where the state is a plain ResNet's: what they replaced has other statistics. Returns the
    names of what kept its initialisation. Raises RuntimeError where anything else is missing or does not fit.
    """
    state = {our_name(name): tensor for name, tensor in state.items()}
    left_out = (*_CLASSIFIERS, *_added(trunk, state))
    weights = {name: tensor for name, tensor in state.items() if not name.startswith(left_out)}
    if isinstance(trunk, MgnTrunk):
        weights = trunk.from_torchvision(weights)
    kept = {name: tensor for name, tensor in trunk.state_dict().items() if name.startswith(left_out)}
    trunk.load_state_dict(weights | kept, strict=True)
    return tuple(kept)


def _added(trunk: nn.Module, state: dict[str, Tensor]) -> set[str]:
    """Prefixes of the parameters that torchvision's network does not have."""
    prefixes = added_prefixes(trunk)
    for name, module in trunk.named_modules():
        if isinstance(module, InstanceBatchNorm) and f"{name}.instance.weight" in state:
            continue
        if isinstance(module, (DynamicConv, CellStream, FeatureLayer, InstanceBatchNorm)):
            prefixes.add(f"{name}.")
    if isinstance(trunk, MgnTrunk):
        prefixes |= set(ADDED)
    return prefixes
