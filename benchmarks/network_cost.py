"""Parameters and operations of networks: DCSD's Table IV, and the sizes in PTL's Table I.

python -m benchmarks.network_cost resnet50 resnet50-dcsd [--size 224x224] [--classes 1000]
    [--feature-layer] [--hidden 128 128]

Counted are multiply-adds of convolutions, linear layers and DCSD's filters, of one image, as the papers count
FLOPs, and of DCSD's training-only heads for 5 domains and 32 cameras the parameters. Nothing is computed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid.models.build import build
from reid.models.dcsd import TAPS, DynamicConv, dynamic_layers
from reid.models.spec import ARCHITECTURES, ModelSpec

_DOMAINS, _CAMERAS = 5, 32  # of DCSD's joint training, Table I


def cost(
    arch: str,
    height: int,
    width: int,
    classes: int,
    hidden: Sequence[int] = (),
    feature_layer: bool = False,
) -> tuple[int, int]:
    """Parameters and multiply-adds of a network with a classifier, last stride 2 where it has one.

    Args:
        hidden: widths of the classifier's layers but the last.
        feature_layer: PTL's 1x1 convolution behind a plain network; the others are left as they are.
    """
    options = ARCHITECTURES[arch].options
    feature_layer = feature_layer and "feature_layer" in options
    stride = 2 if "last_stride" in options else 1
    with torch.device("meta"):
        spec = ModelSpec(
            arch,
            height,
            width,
            last_stride=stride,
            neck=False,
            ssl_heads=False,
            feature_layer=feature_layer,
        )
        network = build(spec).eval()
    parameters, operations = sum(p.numel() for p in network.parameters()), 0
    for inputs, outputs in itertools.pairwise((spec.dim, *hidden, classes)):
        parameters += (inputs + 1) * outputs
        operations += inputs * outputs
    for layer in dynamic_layers(network):
        outputs = layer.gain.shape[0] + 1
        parameters += sum(outputs * n for n, mlp in _heads(layer) if mlp is not None)

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal operations
        if isinstance(layer, nn.Conv2d):
            operations += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            operations += output.numel() * layer.in_features
        elif isinstance(layer, DynamicConv):
            operations += 2 * TAPS * output.numel()  # a filter's value and its use

    kinds = (nn.Conv2d, nn.Linear, DynamicConv)
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(count)
    with torch.no_grad():
        network.trunk(torch.empty(1, 3, height, width, device="meta"))
    return parameters, operations


def _heads(layer: DynamicConv) -> tuple[tuple[int, nn.Module | None], ...]:
    return (_DOMAINS, layer.domain), (_CAMERAS, layer.camera)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archs", nargs="*", default=["resnet50", "resnet50-dcsd"], choices=[*ARCHITECTURES])
    parser.add_argument("--size", default="224x224", help="HEIGHTxWIDTH")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--hidden", type=int, nargs="+", default=[], help="widths in PTL's classifier")
    parser.add_argument("--feature-layer", action="store_true", help="PTL's, behind plain networks")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    for arch in options.archs:
        parameters, operations = cost(
            arch, height, width, options.classes, options.hidden, options.feature_layer
        )
        print(f"{arch:20} {parameters / 1e6:6.1f} M parameters {operations / 1e9:6.2f} G multiply-adds")


if __name__ == "__main__":
    main()
