"""BNTA, section 3.6: test-time adaptation of BatchNorm by part positions and part-nearest-neighbour pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from reid.adaptation.losses import matching_loss, position_loss
from reid.adaptation.moving import LAYERS, VALUES, moving
from reid.adaptation.pairing import (
    MAX_PAIRS,
    Pairs,
    greedy_pairs,
    nearest_parts,
    only_across,
    without_camera_means,
)
from reid.adaptation.sampling import MIN_CROPS
from reid.models.build import Embedder, PixelEmbedder

_FEWEST_IN_BATCH = 4  # images; variances of fewer say nothing


class AdaptationError(ValueError):
    """The adaptation cannot be done with this model or these crops; says why."""


@dataclasses.dataclass(frozen=True)
class Bnta:
    """Settings of one adaptation; the defaults are the paper's (section 4.1)."""

    max_pairs: int = MAX_PAIRS  # K; the paper takes 128, or every image where there are fewer
    batch_pairs: int = 32  # the paper's 64 images
    rate: float = 5e-4  # Adam without weight decay; the paper gives the rate only
    momentum: float = 0.1  # of the statistics' moving average, torch's default
    margin: float = 0.3  # phi of Eq. 8
    position: float = 1.0  # weight of L_pos in Eq. 13
    matching: float = 1.0  # weight of L_mat in Eq. 13, lambda 3
    seed: int = 0  # of the order of the pairs
    epochs: int = 1  # over the pairs
    # Not in the paper: pairs come from two cameras, nearest after each camera's mean part features are taken
    # away. Look-alike frames of one track teach nothing about cameras.
    across_cameras: bool = False
    layers: tuple[str, ...] = ("bn",)  # that move: bn, conv, in (the paper's Table 4)
    values: tuple[str, ...] = VALUES  # of BN layers that move (the paper's Table 5)

    def __post_init__(self) -> None:
        for name, known in (("layers", LAYERS), ("values", VALUES)):
            unknown = set(getattr(self, name)) - set(known)
            if unknown or not getattr(self, name):
                raise ValueError(f"{name} is {list(getattr(self, name))}; choose some of {', '.join(known)}")


@dataclasses.dataclass(frozen=True)
class Report:
    """What an adaptation did."""

    crops: int
    pairs: int
    steps: int
    mean_pair_distance: float
    losses: list[dict[str, float]]  # per step: position, matching


Progress = Callable[[float, str], None]  # share done, what is going on; may raise to stop the adaptation


def _silent(share: float, stage: str) -> None:
    """No progress wanted."""


def adapt(
    embedder: Embedder,
    crops: np.ndarray,
    settings: Bnta | None = None,
    progress: Progress = _silent,
    cameras: Sequence[str | None] | None = None,
) -> Report:
    """Changes statistics and affine values of every BN layer of `embedder`, in place, and nothing else
    (methods A.3.5), or what else `layers` and `values` of the settings name.

    Args:
        embedder: with self-supervised heads, holding the values to start from, on the device to compute on.
        crops: uint8 [N,H,W,3], N >= 16, of one site, unlabeled.
        progress: called between batches; an exception from it leaves the adaptation there.
        cameras: of each crop, where pairs are to come from two of them.

    Raises AdaptationError for a model without heads or fewer than 16 crops.
    """
    settings = settings or Bnta()
    if embedder.heads is None:
        raise AdaptationError(
            "this model has no self-supervised heads; train it with model.ssl_heads: true to adapt it by BNTA"
        )
    if len(crops) < MIN_CROPS:
        raise AdaptationError(f"BNTA needs at least {MIN_CROPS} crops, got {len(crops)}")
    device = next(embedder.parameters()).device
    pixels = PixelEmbedder(embedder).to(device)
    parts = _part_features(pixels, crops, progress)
    progress(0.5, "pairing")
    if settings.across_cameras:
        if cameras is None:
            raise AdaptationError("pairs across cameras need the camera of each crop")
        distance, stripe = nearest_parts(without_camera_means(parts, cameras))
        pairs = greedy_pairs(only_across(distance, cameras), stripe, settings.max_pairs)
    else:
        pairs = greedy_pairs(*nearest_parts(parts), settings.max_pairs)
    if not len(pairs.first):
        raise AdaptationError("no two crops come from different cameras, so there are no pairs across them")
    with moving(embedder, settings.layers, settings.values, settings.momentum) as parameters:
        # The paper says "gradient step" and means Adam elsewhere (methods A.3.5); fresh state every time.
        optimiser = torch.optim.Adam(parameters, lr=settings.rate) if parameters else None
        losses = [
            _step(pixels, optimiser, crops, batch, settings)
            for batch in _batches(pairs, settings, lambda done: progress(0.5 + done / 2, "adapting"))
        ]
    embedder.eval()
    return Report(len(crops), len(pairs.first), len(losses), float(pairs.distance.mean()), losses)


@torch.no_grad()
def _part_features(pixels: PixelEmbedder, crops: np.ndarray, progress: Progress, batch: int = 64) -> Tensor:
    """Part features of the model as it comes, in eval mode: float [N,P,dim]."""
    pixels.eval()
    features = []
    for start in range(0, len(crops), batch):
        progress(0.5 * start / len(crops), "comparing parts")
        features.append(_features(pixels, crops[start : start + batch])[1])
    return torch.cat(features)


def _features(pixels: PixelEmbedder, crops: np.ndarray) -> tuple[Tensor, Tensor]:
    """Position logits and part features. The neck runs too, so that its statistics move (methods A.3.5)."""
    device = pixels.pixel_mean.device
    f = pixels.embedder.features(pixels.normalise(torch.from_numpy(np.ascontiguousarray(crops)).to(device)))
    assert f.position_logits is not None and f.parts is not None
    return f.position_logits, f.parts


def _batches(pairs: Pairs, settings: Bnta, progress: Callable[[float], None]) -> Iterator[Pairs]:
    """The pairs in random order, epoch by epoch; a last batch of fewer than four images is dropped."""
    rng = np.random.default_rng(settings.seed)
    for epoch in range(settings.epochs):
        order = rng.permutation(len(pairs.first))
        for start in range(0, len(order), settings.batch_pairs):
            chosen = order[start : start + settings.batch_pairs]
            if 2 * len(chosen) >= _FEWEST_IN_BATCH:
                progress((epoch + start / len(order)) / settings.epochs)
                yield Pairs(*(column[chosen] for column in pairs))


def _step(
    pixels: PixelEmbedder,
    optimiser: torch.optim.Optimizer | None,
    crops: np.ndarray,
    batch: Pairs,
    settings: Bnta,
) -> dict[str, float]:
    """One step of Eq. 14: both losses, one update of gamma and beta. The forward pass moves statistics."""
    logits, parts = _features(pixels, crops[np.concatenate([batch.first, batch.second])])
    position = position_loss(logits)
    matching = matching_loss(parts, torch.from_numpy(batch.stripe).to(parts.device), settings.margin)
    if optimiser is not None:  # None: statistics alone move, in the forward pass
        optimiser.zero_grad(set_to_none=True)
        (settings.position * position + settings.matching * matching).backward()
        optimiser.step()
    return {"position": position.item(), "matching": matching.item()}
