"""Layers of a network that a run leaves as they are."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from training.recipe import RecipeError


class Frozen:
    """The layers and weights whose names match one of the patterns, with all that is under them.

    Names are those of the network as a checkpoint has them, like `trunk.layer1.0.conv1.weight`; `*` stands
    for any letters, dots too. A BatchNorm layer whose weights are all frozen also keeps its statistics.

    Raises RecipeError for a pattern that matches nothing, with the names nearest to it.
    """

    def __init__(self, network: nn.Module, patterns: Sequence[str]) -> None:
        modules = {name: module for name, module in network.named_modules() if name}
        parameters = dict(network.named_parameters())
        for pattern in patterns:
            _require_match(pattern, [*modules, *parameters])
        for name, parameter in parameters.items():
            if _matches(name, patterns):
                parameter.requires_grad_(False)
        self.norms = []
        for name, module in modules.items():
            weights = list(module.parameters(recurse=False))
            frozen = bool(weights) and not any(weight.requires_grad for weight in weights)
            if isinstance(module, _BatchNorm) and patterns and (_matches(name, patterns) or frozen):
                self.norms.append(module)

    def keep_still(self) -> None:
        """Puts the frozen BatchNorm layers into eval mode; called whenever the network enters train mode."""
        for norm in self.norms:
            norm.eval()


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern matches the name or that of a layer which it is under."""
    parts = name.split(".")
    above = [".".join(parts[: i + 1]) for i in range(len(parts))]
    return any(fnmatchcase(each, pattern) for each in above for pattern in patterns)


def _require_match(pattern: str, names: Sequence[str]) -> None:
    if any(fnmatchcase(name, pattern) for name in names):
        return
    near = difflib.get_close_matches(pattern.rstrip(".*"), names, n=3, cutoff=0.0)
    raise RecipeError(f"freeze: {pattern!r} matches no layer of this network; near it: {', '.join(near)}")
