"""DCSD's Figure 5: how far the filters that its modules make tell domains apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from reid.models.build import Embedder, PixelEmbedder
from reid.models.dcsd import DynamicConv, dynamic_layers
from reid.models.runner import run_crops
from training.figures import scatter_tsne

SHOWN = (0, 12, 15)  # the modules that the paper draws


def filters_figure(embedder: Embedder, crops: Mapping[str, np.ndarray], seed: int = 0) -> Figure:
    """t-SNE of the filters of three modules, of the sample alone and with domain and camera.

    A module makes a filter for each channel and position; drawn is the mean over positions, [C * 9] of each
    crop. "The sample alone" leaves the embeddings of domain and camera out of the same network.

    Args:
        crops: uint8 [N,H,W,3] of each domain.

    Raises ValueError for a network without such modules.
    """
    layers = dynamic_layers(embedder)
    if len(layers) <= max(SHOWN):
        raise ValueError(f"{embedder.spec.arch} has no DCSD modules; draw a run of dcsd")
    figure = Figure(figsize=(8, 11), layout="constrained")
    grid = figure.add_gridspec(len(SHOWN), 2)
    for column, shifted in enumerate((False, True)):
        of_domains = {name: mean_filters(embedder, some, shifted) for name, some in crops.items()}
        for row, number in enumerate(SHOWN):
            axes = figure.add_subplot(grid[row, column])
            scatter_tsne(axes, {name: f[row] for name, f in of_domains.items()}, seed, "euclidean")
            axes.set_title(
                f"module {number}, " + ("sample, domain and camera" if shifted else "sample alone")
            )
    return figure


def mean_filters(embedder: Embedder, crops: np.ndarray, shifted: bool) -> list[np.ndarray]:
    """float32 [N, C*9] for each module of SHOWN: its filters, averaged over positions.

    Args:
        shifted: whether the embeddings of domain and camera count.
    """
    layers = [dynamic_layers(embedder)[number] for number in SHOWN]
    pixels = PixelEmbedder(embedder).eval()
    seen: dict[int, Tensor] = {}

    def remember(number: int) -> Callable[[torch.nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(layer, DynamicConv)
            channels, positions = layer.filters(inputs[0], shifted)
            seen[number] = channels * positions.mean(dim=(2, 3))[:, None]

        return hook

    hooks = [layer.register_forward_pre_hook(remember(n)) for n, layer in enumerate(layers)]
    widths = [layer.gain.numel() for layer in layers]

    def compute(batch: Tensor) -> Tensor:
        pixels(batch)
        return torch.cat([seen[number].flatten(1) for number in range(len(layers))], dim=1)

    try:
        together = run_crops(compute, crops)
    finally:
        for handle in hooks:
            handle.remove()
    return np.split(together, np.cumsum(widths)[:-1], axis=1)
