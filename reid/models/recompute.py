"""Gradient checkpointing: a stage's activations are discarded and computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class Trunk(nn.Module):
    """A network up to its last feature map.

    `recompute` switches gradient checkpointing of its stages on. `mixer` is a function of a training run,
    such as MixStyle, that changes the maps behind the first stages; a trunk that is deployed has none.
    """

    recompute = False
    mixer: Callable[[Tensor], Tensor] | None = None
    mixed_stages: tuple[int, ...] = ()  # behind these a mixer is called; empty: this trunk takes no mixer

    def behind_stage(self, number: int, x: Tensor) -> Tensor:
        """The map [B,C,H,W] behind stage `number` (0 is the first); in training mixed, if that stage is."""
        if self.mixer is None or not self.training or number not in self.mixed_stages:
            return x
        return self.mixer(x)


def run_stage(stage: nn.Module, x: Tensor, recompute: bool) -> Tensor:
    """stage(x); with `recompute`, in training, without keeping its activations.

    Its BatchNorm layers update their statistics only once. The second computation uses the parameters that
    the first one saw, which for M3L's copy are not the module's own.
    """
    if not (recompute and stage.training and torch.is_grad_enabled()):
        return stage(x)
    seen: dict[str, Any] = dict(stage.named_parameters())

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _FrozenStatistics(stage)

    return checkpoint(
        lambda y: functional_call(stage, seen, (y,)), x, use_reentrant=False, context_fn=contexts
    )


class _FrozenStatistics:
    """BatchNorm layers normalise by the batch and leave their running statistics alone. Reentrant."""

    def __init__(self, module: nn.Module) -> None:
        self.layers = [m for m in module.modules() if isinstance(m, _BatchNorm)]

    def __enter__(self) -> None:
        self.kept = [(layer.momentum, layer.num_batches_tracked) for layer in self.layers]
        for layer in self.layers:
            layer.momentum, layer.num_batches_tracked = 0.0, None

    def __exit__(self, *_: object) -> None:
        for layer, (momentum, tracked) in zip(self.layers, self.kept, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, tracked
