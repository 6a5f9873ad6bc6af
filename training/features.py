"""Which feature of a network is compared, and how: BoT's Table 2, and averages with the mirrored crop.

What is deployed is f_i, the feature behind the neck, at unit length.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from reid.models.build import Embedder, PixelEmbedder, build
from reid.models.imagenet import load_imagenet
from reid.models.published import PublishedError, match
from reid.models.runner import run_crops
from reid.models.spec import ModelSpec


class Features(NamedTuple):
    """What is taken of a network."""

    feature: Literal["f_i", "f_t"] = "f_i"  # behind the neck, or before it
    unit: bool = True  # at unit length, for cosines
    # the mean with the feature of the mirrored crop, as MGN's and DualNorm's code test
    flip: bool = False


DEPLOYED = Features()


def feature_runner(
    embedder: Embedder, device: torch.device | str, features: Features = DEPLOYED
) -> Callable[[np.ndarray], np.ndarray]:
    """uint8 [B,H,W,3] -> float32 [B,D], by a network that is moved to the device and into eval mode."""
    pixels = PixelEmbedder(embedder).eval().to(device)

    def one(x: Tensor) -> Tensor:
        if features.feature == "f_i":
            return embedder.retrieval(x)
        return embedder.pool(embedder.trunk(x))

    def compute(crops: Tensor) -> Tensor:
        x = pixels.normalise(crops)
        feature = one(x)
        if features.flip:
            feature = (feature + one(x.flip(3))) / 2
        return F.normalize(feature) if features.unit else feature

    return lambda crops: run_crops(compute, crops, device)


def euclidean(embedded: Any) -> Any:
    """Embeddings whose inner products rank as the Euclidean distances of features [Q,D] and [G,D] do.

    -|q - g|^2 is 2 q g - |g|^2 less a number of the query's own; so each gallery feature gets its square as
    one more value. Features are taken from the gallery's mean first, which changes no distance and keeps
    digits.
    """
    middle = embedded.gallery.mean(0, dtype=np.float64)
    query, gallery = embedded.query - middle, embedded.gallery - middle
    query = np.concatenate([2 * query, np.full((len(query), 1), -1.0)], axis=1)
    gallery = np.concatenate([gallery, np.square(gallery).sum(1, keepdims=True)], axis=1)
    return embedded._replace(query=query.astype(np.float32), gallery=gallery.astype(np.float32))


def published_network(path: Path) -> Embedder:
    """A file of published weights as a network without neck and heads: M3L's Figure 5(a).

    Raises ValueError for a file that holds no trunk of ours.
    """
    try:
        found = match(load_file(path), None)
    except PublishedError as error:
        raise ValueError(f"{path}: {error}") from error
    if not found.whole:
        raise ValueError(f"{path} holds no whole network; make it with resight weights convert")
    embedder = build(ModelSpec(found.arch, neck=False, ssl_heads=False))
    load_imagenet(embedder.trunk, found.state)
    return embedder.eval()
