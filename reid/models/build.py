"""ModelSpec -> Embedder: everything that is deployed or adapted, and nothing that only training needs."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.models.heads import PartHeads
from reid.models.spec import ModelSpec
from reid.models.trunks import make_trunk


class Features(NamedTuple):
    """All features of one forward pass, for training and adaptation."""

    before_neck: Tensor  # [B,D] f_t of BoT: triplet and centre loss
    after_neck: Tensor  # [B,D] f_i of BoT: identity loss and retrieval
    position_logits: Tensor | None  # [B,6,6]
    parts: Tensor | None  # [B,6,256]


class Mean(nn.Module):
    """The mean over positions, [B,C,H,W] -> [B,C]."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x.mean(dim=(2, 3))


class Embedder(nn.Module):
    """Trunk -> global pool -> BN neck -> unit embedding; beside it BNTA's heads, if the spec says so."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = make_trunk(spec)
        self.pool = _pool(spec)
        self.neck: nn.Module = nn.BatchNorm1d(spec.dim) if spec.neck else nn.Identity()
        self.heads = PartHeads(spec.dim, spec.map_rows) if spec.ssl_heads else None

    def features(self, x: Tensor) -> Features:
        """float [B,3,H,W], normalised by the architecture's mean and deviation -> all features."""
        feature_map = self.trunk(x)
        before = self.pool(feature_map)
        after = self.neck(before)
        position, parts = self.heads(feature_map) if self.heads is not None else (None, None)
        return Features(before, after, position, parts)

    def forward(self, x: Tensor) -> Tensor:
        """float [B,3,H,W], normalised -> unit embedding [B,D]."""
        return F.normalize(self.retrieval(x))

    def retrieval(self, x: Tensor) -> Tensor:
        """float [B,3,H,W], normalised -> the feature [B,D] before unit length."""
        return self.neck(self.pool(self.trunk(x)))


class PixelEmbedder(nn.Module):
    """The graph that is exported: uint8 crops in, unit embeddings out.

    Normalisation is inside, so that no caller can forget it or apply it twice.
    """

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder
        architecture = embedder.spec.architecture
        mean = torch.tensor(architecture.pixel_mean).view(1, 3, 1, 1) * 255
        std = torch.tensor(architecture.pixel_std).view(1, 3, 1, 1) * 255
        self.pixel_mean: Tensor
        self.pixel_scale: Tensor
        self.register_buffer("pixel_mean", mean, persistent=False)
        self.register_buffer("pixel_scale", 1 / std, persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """uint8 [B,H,W,3] RGB -> float32 [B,D], unit length."""
        return self.embedder(self.normalise(crops))

    def normalise(self, crops: Tensor) -> Tensor:
        """uint8 [B,H,W,3] RGB -> float32 [B,3,H,W], normalised by the architecture's mean and deviation."""
        return (crops.float().permute(0, 3, 1, 2) - self.pixel_mean) * self.pixel_scale


def build(spec: ModelSpec) -> Embedder:
    """A freshly initialised network of this specification."""
    return Embedder(spec)


def batchnorm_layers(model: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """Every BatchNorm layer by its module path, in the order of `named_modules`."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}


def _pool(spec: ModelSpec) -> nn.Module:
    if spec.architecture.pooling != "gem":
        return Mean()
    from reid.models.agw import GeM  # which brings torchvision along

    return GeM()
