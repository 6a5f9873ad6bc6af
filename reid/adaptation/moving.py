"""What of a network an adaptation moves: BNTA's BN layers, or the choices of its Tables 4 and 5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from reid.models.build import Embedder, batchnorm_layers

LAYERS = ("bn", "conv", "in")  # Table 4; conv has the linear layers too, as its 93 M parameters do
VALUES = ("mean", "variance", "gamma", "beta")  # of BN layers, Table 5
_STATISTICS = {"mean": "running_mean", "variance": "running_var"}
_AFFINE = {"gamma": "weight", "beta": "bias"}


@contextmanager
def moving(
    embedder: Embedder, layers: Sequence[str], values: Sequence[str], momentum: float
) -> Iterator[list[nn.Parameter]]:
    """The parameters to train; everything else is frozen, and in eval mode but for BN layers that move.

    BN layers that move normalise by the batch. Statistics that are not among `values` are put back at the
    end. Flags and momenta are restored.

    Args:
        layers: some of LAYERS. values: of BN layers, some of VALUES. momentum: of their moving averages.
    """
    flags = [(p, p.requires_grad) for p in embedder.parameters()]
    norms = list(batchnorm_layers(embedder).values()) if "bn" in layers else []
    momenta = [layer.momentum for layer in norms]
    kept = [_STATISTICS[value] for value in _STATISTICS if value not in values]
    before = [(layer, name, getattr(layer, name).clone()) for layer in norms for name in kept]
    embedder.eval().requires_grad_(False)
    trained = [getattr(layer, name) for layer in norms for value, name in _AFFINE.items() if value in values]
    for layer in norms:
        layer.train()
        layer.momentum = momentum
    for module in embedder.modules():
        weighs = isinstance(module, (nn.Conv2d, nn.Linear)) and "conv" in layers
        if weighs or (isinstance(module, nn.InstanceNorm2d) and "in" in layers):
            trained += list(module.parameters(recurse=False))
    for parameter in trained:
        parameter.requires_grad_(True)
    try:
        yield trained
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        for layer, value in zip(norms, momenta, strict=True):
            layer.momentum = value
        for layer, name, tensor in before:
            getattr(layer, name).copy_(tensor)
