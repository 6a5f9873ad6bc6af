"""PTL's Figure 3: the loss of a classifier on a plane through its weights (Li et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.func import functional_call

from reid.batches import Progress
from reid.models.build import Embedder, PixelEmbedder

_BATCH = 250  # images at once
_REACH = 1.0  # of both directions, in lengths of the weights
_LEVELS = 20


class Classifying(nn.Module):
    """A network and its classifier: uint8 [B,H,W,3] -> logits [B,classes]."""

    def __init__(self, embedder: Embedder, classifier: nn.Module) -> None:
        super().__init__()
        self.pixels, self.classifier = PixelEmbedder(embedder), classifier

    def forward(self, crops: Tensor) -> Tensor:
        """See the class."""
        return self.classifier(self.pixels.embedder.retrieval(self.pixels.normalise(crops)))


class Surface(NamedTuple):
    """Mean cross entropy [N,N] at `steps` [N] along the second (rows) and the first direction (columns)."""

    steps: np.ndarray
    losses: np.ndarray


def direction(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """A random direction as long as the weights, filter by filter; 0 for biases and BatchNorm's values.

    A network with ReLUs and BatchNorm computes the same after a filter was scaled, so a direction of another
    length for each filter would draw the scales and not the loss (section 4 of Li et al.).
    """
    chosen = {}
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            chosen[name] = torch.zeros_like(weight)
            continue
        drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
        filters = drawn.flatten(1).norm(dim=1), weight.detach().flatten(1).norm(dim=1)
        scale = filters[1] / filters[0].clamp_min(1e-10)
        chosen[name] = drawn * scale.view(-1, *[1] * (weight.dim() - 1))
    return chosen


def surface(
    model: nn.Module,
    crops: np.ndarray,
    labels: np.ndarray,
    points: int,
    seed: int,
    progress: Progress | None = None,
) -> Surface:
    """The loss on a square of `points` x `points` around the weights of a model, which stays as it is.

    Args:
        model: in eval mode, crops to logits. crops: uint8 [N,H,W,3]. labels: [N], numbered from 0.
        points: odd, so that the weights themselves are the middle.

    Raises ValueError for an even number.
    """
    if points % 2 == 0:
        raise ValueError(f"a surface of {points} points a side has no middle; choose an odd number")
    generator = torch.Generator().manual_seed(seed)
    first, second = direction(model, generator), direction(model, generator)
    steps = np.linspace(-_REACH, _REACH, points)
    device = next(model.parameters()).device
    images, classes = torch.from_numpy(crops).to(device), torch.from_numpy(labels).to(device)
    losses = np.empty((points, points))
    weights = {name: p.detach() for name, p in model.named_parameters()}
    for row, column in np.ndindex(points, points):
        moved = {
            name: p + float(steps[column]) * first[name] + float(steps[row]) * second[name]
            for name, p in weights.items()
        }
        losses[row, column] = _loss(model, moved, images, classes)
        if progress is not None:
            progress(row * points + column + 1, points**2)
    return Surface(steps, losses)


def _loss(model: nn.Module, weights: dict[str, Tensor], images: Tensor, classes: Tensor) -> float:
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            some = slice(start, start + _BATCH)
            logits = functional_call(model, weights, (images[some],))
            total += float(F.cross_entropy(logits.double(), classes[some], reduction="sum"))
    return total / len(images)


def surface_figure(surfaces: Mapping[str, Surface]) -> Figure:
    """Contours of each surface beside each other, with the same levels, so that their widths compare."""
    figure = Figure(figsize=(5 * len(surfaces), 4.4), layout="constrained")
    lowest = min(s.losses.min() for s in surfaces.values())
    # levels end at the highest loss of the flattest surface: where another surface is higher it stays white,
    # so the less of it is drawn, the steeper it is
    highest = min(s.losses.max() for s in surfaces.values())
    levels = np.linspace(lowest, max(highest, lowest + 1e-6), _LEVELS)
    for place, (name, drawn) in enumerate(surfaces.items(), 1):
        axes = figure.add_subplot(1, len(surfaces), place)
        lines = axes.contour(drawn.steps, drawn.steps, drawn.losses, levels=levels)
        middle = drawn.losses[len(drawn.steps) // 2, len(drawn.steps) // 2]
        axes.set(title=f"{name}: loss {middle:.3f} in the middle", xlabel="first direction")
        axes.set_ylabel("second direction")
        axes.clabel(lines, fontsize=7)
    return figure
