"""Figures: CMC curves, embeddings in the plane, and what adaptation does to BatchNorm (BNTA's Figs. 1, 3)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from reid.adaptation.bnta import Bnta, adapt
from reid.models.build import Embedder, PixelEmbedder, batchnorm_layers
from reid.models.runner import run_crops

_COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#4b4b4b", "#d16ba5", "#2aa198")
_VALUES = {"mean": "running_mean", "variance": "running_var", "gamma": "weight", "beta": "bias"}
_TOP = 10  # layers in each bar chart, as in the paper


def cmc_figure(curves: Mapping[str, np.ndarray], title: str) -> Figure:
    """One line for each model: share of queries [depth] whose first right match is within the rank."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for colour, (name, curve) in zip(_cycle(len(curves)), curves.items(), strict=True):
        axes.plot(
            np.arange(1, len(curve) + 1),
            100 * curve,
            color=colour,
            label=f"{name}: rank-1 {100 * curve[0]:.1f} %",
        )
    axes.set(
        xlabel="rank", ylabel="queries with a right match, %", title=title, ylim=(None, 101), xlim=(1, None)
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def embedding_figure(groups: Mapping[str, np.ndarray], seed: int = 0) -> Figure:
    """t-SNE of unit embeddings [N,D], one colour for each domain.

    Domains that mix are domains that the model does not distinguish. Raises ValueError for fewer than five
    crops in all.
    """
    figure = Figure(figsize=(6, 6), layout="constrained")
    scatter_tsne(figure.add_subplot(), groups, seed)
    return figure


def scatter_tsne(axes: Axes, groups: Mapping[str, np.ndarray], seed: int, metric: str = "cosine") -> None:
    """t-SNE of the groups' rows [N,D] together, one colour each. ValueError for fewer than five rows."""
    from sklearn.manifold import TSNE

    rows = np.concatenate(list(groups.values()))
    if len(rows) < 5:
        raise ValueError(f"t-SNE needs five crops or more, not {len(rows)}")
    plane = TSNE(
        perplexity=min(30.0, (len(rows) - 1) / 3), metric=metric, init="random", random_state=seed
    ).fit_transform(rows)
    start = 0
    for colour, (name, embeddings) in zip(_cycle(len(groups)), groups.items(), strict=True):
        x, y = plane[start : start + len(embeddings)].T
        axes.scatter(x, y, s=9, color=colour, alpha=0.7, linewidths=0, label=name)
        start += len(embeddings)
    axes.set(xticks=[], yticks=[])
    axes.legend()


def batchnorm_figure(
    embedder: Embedder, target: np.ndarray, source: np.ndarray | None = None, seed: int = 0
) -> Figure:
    """What BNTA does to the BN layers of a network on unlabeled crops of a target.

    Above: the outputs of the layer whose statistics move most, on the target before and after, and on the
    source where it is given. Below: the layers that change most in mean, variance, gamma and beta; the change
    is relative, the mean over channels.

    Args:
        embedder: with heads; it is copied. target, source: uint8 [N,H,W,3]. seed: of the adaptation.

    Raises AdaptationError as `reid.adaptation.bnta.adapt` does.
    """
    before, after = embedder, copy.deepcopy(embedder)
    adapt(after, target, Bnta(seed=seed))
    changes = {name: change_rates(before, after, key) for name, key in _VALUES.items()}
    layer = int(np.argmax(changes["mean"] + changes["variance"]))
    figure = Figure(figsize=(9, 8), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=(1.3, 1, 1))
    top = figure.add_subplot(grid[0, :])
    lines = {} if source is None else {"source": (before, source)}
    lines |= {"target, frozen": (before, target), "target, adapted": (after, target)}
    _densities(top, {name: _outputs(model, crops, layer) for name, (model, crops) in lines.items()})
    top.set(title=f"outputs of BN layer {layer + 1}", yticks=[])
    for place, (name, values) in enumerate(changes.items()):
        axes = figure.add_subplot(grid[1 + place // 2, place % 2])
        order = np.argsort(-values)[:_TOP]
        axes.bar([str(i + 1) for i in order], 100 * values[order], color=_COLOURS[0])
        axes.set(title=name, ylabel="change, %")
    figure.supxlabel("BN layer, counted from the input")
    return figure


def change_rates(before: nn.Module, after: nn.Module, key: str) -> np.ndarray:
    """float64 [layers]: mean of |after - before| over mean of |before|, for one value of every BN layer."""
    pairs = zip(batchnorm_layers(before).values(), batchnorm_layers(after).values(), strict=True)
    return np.array([_relative(getattr(old, key), getattr(new, key)) for old, new in pairs])


@torch.no_grad()
def _relative(old: Tensor, new: Tensor) -> float:
    return float((new - old).abs().mean() / old.abs().mean().clamp_min(1e-6))


def _outputs(embedder: Embedder, crops: np.ndarray, layer: int) -> np.ndarray:
    """All outputs of one BN layer in eval mode, at most a hundred thousand of them."""
    seen: list[Tensor] = []
    module = list(batchnorm_layers(embedder).values())[layer]
    pixels = PixelEmbedder(embedder).eval()

    def features(batch: Tensor) -> Tensor:  # of all layers, the heads' too
        return embedder.features(pixels.normalise(batch)).after_neck

    hook = module.register_forward_hook(lambda _, __, output: seen.append(output.flatten()))
    try:
        run_crops(features, crops)
    finally:
        hook.remove()
    values = torch.cat(seen).numpy()
    return values[:: max(1, len(values) // 100_000)]


def _densities(axes: Axes, samples: Mapping[str, np.ndarray]) -> None:
    low, high = np.percentile(np.concatenate(list(samples.values())), (0.5, 99.5))
    for colour, (name, values) in zip(_cycle(len(samples)), samples.items(), strict=True):
        axes.hist(
            values,
            bins=120,
            range=(low, high),
            density=True,
            histtype="step",
            color=colour,
            label=f"{name}: deviation {values.std():.2f}",
        )
    axes.legend()


def _cycle(count: int) -> Sequence[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]
