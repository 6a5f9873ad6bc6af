"""ModelSpec -> Embedder: everything that is deployed or adapted, and nothing that only training needs."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.models.heads import PartHeads
from reid.models.trunks import TRUNKS

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """What is needed to build a network before its weights are loaded. Stands in every checkpoint and every
    bundle."""

    arch: str = "resnet50"
    height: int = 256  # pixels of the input crop
    width: int = 128
    last_stride: int = 1
    stem_relu: bool = True
    neck: bool = True  # BNNeck; False compares the pooled feature itself
    ssl_heads: bool = True  # BNTA's heads: without them a site cannot be adapted by tier 2
    domain_branch: bool = True  # of DCSD's modules, where the architecture has them
    camera_branch: bool = True

    def __post_init__(self) -> None:
        if self.arch not in TRUNKS:
            raise ValueError(f"unknown architecture {self.arch!r}; known: {', '.join(TRUNKS)}")
        rows = TRUNKS[self.arch].rows
        if self.height % rows or self.width % 16 or min(self.height, self.width) < 32:
            raise ValueError(
                f"input {self.height}x{self.width}: for {self.arch} the height must be a multiple of {rows}, "
                "the width one of 16, both at least 32"
            )
        if self.last_stride not in (1, 2):
            raise ValueError(f"last_stride must be 1 or 2, not {self.last_stride}")
        if TRUNKS[self.arch].cut and self.ssl_heads:
            raise ValueError(
                f"{self.arch} cuts its own stripes and has no feature map for BNTA's heads: set ssl_heads "
                f"to false"
            )

    @property
    def dim(self) -> int:
        """Length of the embedding."""
        return TRUNKS[self.arch].channels

    @property
    def map_rows(self) -> int:
        """Rows of the last feature map."""
        return self.height // (16 if self.last_stride == 1 else 32)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSpec:
        """Reads a spec; a key this version does not know is an error, since it would change what is built."""
        unknown = set(values) - {f.name for f in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"model specification has unknown keys: {', '.join(sorted(unknown))}")
        return cls(**values)


class Features(NamedTuple):
    """Everything a training or adaptation step may want from one forward pass."""

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
    """Trunk -> global pool -> BN neck -> unit embedding, with BNTA's heads beside it if the spec asks for
    them."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        kind = TRUNKS[spec.arch]
        self.trunk = kind.make(spec)
        self.pool: nn.Module = Mean() if kind.pool is None else kind.pool()
        self.neck: nn.Module = nn.BatchNorm1d(spec.dim) if spec.neck else nn.Identity()
        self.heads = PartHeads(spec.dim, spec.map_rows) if spec.ssl_heads else None

    def features(self, x: Tensor) -> Features:
        """float [B,3,H,W], normalised by the ImageNet mean and deviation -> all features."""
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
    """The graph that is exported: uint8 crops in, unit embeddings out, normalisation inside so nobody can
    apply it twice."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder
        self.pixel_mean: Tensor
        self.pixel_scale: Tensor
        self.register_buffer(
            "pixel_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255, persistent=False
        )
        self.register_buffer(
            "pixel_scale", 1 / (torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255), persistent=False
        )

    def forward(self, crops: Tensor) -> Tensor:
        """uint8 [B,H,W,3] RGB -> float32 [B,D], unit length."""
        return self.embedder(self.normalise(crops))

    def normalise(self, crops: Tensor) -> Tensor:
        """uint8 [B,H,W,3] RGB -> float32 [B,3,H,W], zero mean and unit deviation over ImageNet."""
        return (crops.permute(0, 3, 1, 2).float() - self.pixel_mean) * self.pixel_scale


def build(spec: ModelSpec) -> Embedder:
    """A freshly initialised network of this specification."""
    return Embedder(spec)


def batchnorm_layers(model: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """Every BatchNorm layer by its module path, in the order of `named_modules`."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
