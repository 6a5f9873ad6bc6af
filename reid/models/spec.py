"""What an architecture is, and what one network of it is; a manifest is read without importing torch."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

PARTS = 6  # horizontal stripes that BNTA's heads cut a feature map into
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB, as a share of 255
IMAGENET_STD = (0.229, 0.224, 0.225)
_TENSORFLOW_MEAN = (127 / 255,) * 3  # of the EfficientNet-Lite networks
_TENSORFLOW_STD = (128 / 255,) * 3


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What all networks of an architecture have in common."""

    channels: int  # of the last feature map, which is also the length of the embedding
    options: frozenset[str]  # which of OPTIONAL it honours
    stride: int = 16  # input rows for each row of the last feature map, at last_stride 1
    height_multiple: int = 16  # the input's height must be a multiple of it, at last_stride 1
    feature_map: bool = True  # False: it cuts its own stripes, so that BNTA's heads have nothing to read
    pooling: Literal["mean", "gem"] = "mean"
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    pixel_std: tuple[float, float, float] = IMAGENET_STD


# fields of ModelSpec
OPTIONAL = (
    "last_stride",
    "stem_relu",
    "domain_branch",
    "camera_branch",
    "shared_reduction",
    "feature_layer",
)

_RESNET = frozenset({"last_stride", "stem_relu"})
_DCSD = _RESNET | {"domain_branch", "camera_branch"}
_DENSENET = frozenset({"last_stride"})
_FEATURE_LAYER = frozenset({"feature_layer"})  # of the plain networks; those with cells always have one
_NONE = frozenset[str]()
_MGN = frozenset({"shared_reduction"})  # its branches have last strides of their own: 2, 1 and 1


def _lite() -> Architecture:
    return Architecture(
        1280, frozenset({"last_stride"}), pixel_mean=_TENSORFLOW_MEAN, pixel_std=_TENSORFLOW_STD
    )


ARCHITECTURES = {
    "resnet18": Architecture(512, _RESNET),
    "resnet50": Architecture(2048, _RESNET | _FEATURE_LAYER),
    "resnet50-ibn": Architecture(2048, _RESNET),
    "resnet50-dualnorm": Architecture(2048, _RESNET),
    "resnet50-snr": Architecture(2048, _RESNET),
    "resnet50-agw": Architecture(2048, _RESNET, pooling="gem"),
    "resnet50-dcsd": Architecture(2048, _DCSD),
    "resnet50-ptl": Architecture(2048, _RESNET),
    "resnet50-agw-dcsd": Architecture(2048, _DCSD, pooling="gem"),
    "densenet100": Architecture(342, _NONE, stride=4, height_multiple=4),  # for CIFAR's 32x32
    "densenet100-ptl": Architecture(342, _NONE, stride=4, height_multiple=4),
    "densenet100-ptl-v2": Architecture(342, _NONE, stride=4, height_multiple=4),
    "densenet161": Architecture(2208, _DENSENET | _FEATURE_LAYER),
    "densenet161-ptl": Architecture(2208, _DENSENET),
    "efficientnet-lite0": _lite(),
    "efficientnet-lite1": _lite(),
    "efficientnet-lite2": _lite(),
    "mgn": Architecture(2048, _MGN, height_multiple=96, feature_map=False),
    "mgn-ptl": Architecture(2048, _MGN, height_multiple=96, feature_map=False),
}


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """What is needed to build a network before its weights are loaded; part of checkpoints and bundles.

    Raises ValueError for an unknown architecture, an input size that does not fit it, or a value that the
    architecture cannot honour.
    """

    arch: str = "resnet50"
    height: int = 256  # pixels of the input crop
    width: int = 128
    # of crops in training and evaluation; a server resizes bilinearly, so a bundle cannot have bicubic
    interpolation: str = "bilinear"
    last_stride: int = 1  # of the last stage: 1 doubles the last feature map in both directions (BoT)
    stem_relu: bool = True  # False: without the ReLU behind the stem, as in the BoT and M3L code
    neck: bool = True  # BNNeck; False compares the pooled feature itself
    ssl_heads: bool = True  # BNTA's heads: without them a site cannot be adapted by tier 2
    domain_branch: bool = True  # of DCSD's modules: filters depend on the predicted domain
    camera_branch: bool = True  # and on the predicted camera
    shared_reduction: bool = False  # of MGN: one reduction for all eight features, as in PTL's code
    feature_layer: bool = (
        False  # PTL section VI.B: a 1x1 convolution makes the feature of a plain network too
    )

    def __post_init__(self) -> None:
        if self.arch not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {self.arch!r}; known: {', '.join(ARCHITECTURES)}")
        if self.last_stride not in (1, 2):
            raise ValueError(f"last_stride must be 1 or 2, not {self.last_stride}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation must be bilinear or bicubic, not {self.interpolation!r}")
        self._check_options()
        self._check_size()
        self._check_heads()

    def _check_options(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            ignored = field.name in OPTIONAL and field.name not in self.architecture.options
            if ignored and value != field.default:
                able = [name for name, known in ARCHITECTURES.items() if field.name in known.options]
                raise ValueError(
                    f"{self.arch} cannot honour {field.name}: {value}; leave it at {field.default}, "
                    f"or choose an arch that can: {', '.join(able)}"
                )

    def _check_size(self) -> None:
        multiple = self.architecture.height_multiple * self.last_stride
        if self.height % multiple or self.width % 16 or min(self.height, self.width) < 32:
            raise ValueError(
                f"input {self.height}x{self.width}: for {self.arch} with last_stride {self.last_stride} the "
                f"height must be a multiple of {multiple}, the width one of 16, both at least 32"
            )

    def _check_heads(self) -> None:
        if not self.ssl_heads:
            return
        if not self.architecture.feature_map:
            raise ValueError(
                f"{self.arch} cuts its own stripes and has no feature map for BNTA's heads: set ssl_heads "
                f"to false"
            )
        if self.map_rows < PARTS:
            raise ValueError(
                f"a feature map of {self.map_rows} rows cannot be cut into the {PARTS} stripes of BNTA's "
                f"heads: choose a height of {PARTS * self._map_stride} or more, or set ssl_heads to false"
            )

    @property
    def architecture(self) -> Architecture:
        """What all networks of this architecture have in common."""
        return ARCHITECTURES[self.arch]

    @property
    def dim(self) -> int:
        """Length of the embedding."""
        return self.architecture.channels

    @property
    def map_rows(self) -> int:
        """Rows of the last feature map."""
        return self.height // self._map_stride

    @property
    def _map_stride(self) -> int:
        return self.architecture.stride * self.last_stride

    @property
    def mean_pixel(self) -> tuple[int, int, int]:
        """RGB 0..255 of the mean pixel, which normalisation maps to 0."""
        red, green, blue = self.architecture.pixel_mean
        return round(255 * red), round(255 * green), round(255 * blue)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSpec:
        """Reads a spec.

        Raises ValueError for a key that this version does not know, since it would change what is built.
        """
        unknown = set(values) - {f.name for f in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"model specification has unknown keys: {', '.join(sorted(unknown))}")
        return cls(**values)
