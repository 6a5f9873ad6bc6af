"""Makes the trunk of a network: everything up to its last feature map.

Each is imported when it is made: most are torchvision's, which takes a second to import and fails beside a
torch of another origin, and an EfficientNet needs nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable

from reid.models.recompute import Trunk
from reid.models.spec import ModelSpec


def make_trunk(spec: ModelSpec) -> Trunk:
    """A freshly initialised trunk of this specification."""
    return _MAKERS[spec.arch](spec)


def _resnet(variant: str = "", depth: int = 50) -> Callable[[ModelSpec], Trunk]:
    def make(spec: ModelSpec) -> Trunk:
        from reid.models.resnet import ResNetTrunk

        return ResNetTrunk(
            depth,
            variant,
            spec.last_stride,
            spec.stem_relu,
            spec.domain_branch,
            spec.camera_branch,
            spec.feature_layer,
        )

    return make


def _densenet100(cell: str = "") -> Callable[[ModelSpec], Trunk]:
    def make(spec: ModelSpec) -> Trunk:
        from reid.models.densenet import SmallDenseNetTrunk

        return SmallDenseNetTrunk(cell)

    return make


def _densenet(ptl: bool) -> Callable[[ModelSpec], Trunk]:
    def make(spec: ModelSpec) -> Trunk:
        from reid.models.densenet import DenseNetTrunk

        return DenseNetTrunk(ptl, spec.last_stride, spec.feature_layer)

    return make


def _efficientnet(variant: str) -> Callable[[ModelSpec], Trunk]:
    def make(spec: ModelSpec) -> Trunk:
        from reid.models.efficientnet import EfficientNetTrunk

        return EfficientNetTrunk(variant, spec.last_stride)

    return make


def _mgn(ptl: bool) -> Callable[[ModelSpec], Trunk]:
    def make(spec: ModelSpec) -> Trunk:
        from reid.models.mgn import MgnTrunk

        return MgnTrunk(ptl, spec.shared_reduction)

    return make


_MAKERS: dict[str, Callable[[ModelSpec], Trunk]] = {
    "resnet18": _resnet(depth=18),
    "resnet50": _resnet(),
    "resnet50-ibn": _resnet("ibn"),
    "resnet50-dualnorm": _resnet("dualnorm"),
    "resnet50-snr": _resnet("snr"),
    "resnet50-agw": _resnet("agw"),
    "resnet50-dcsd": _resnet("dcsd"),
    "resnet50-ptl": _resnet("ptl"),
    "resnet50-agw-dcsd": _resnet("agw-dcsd"),
    "densenet100": _densenet100(),
    "densenet100-ptl": _densenet100("ptl"),
    "densenet100-ptl-v2": _densenet100("ptl-v2"),
    "densenet161": _densenet(ptl=False),
    "densenet161-ptl": _densenet(ptl=True),
    "efficientnet-lite0": _efficientnet("lite0"),
    "efficientnet-lite1": _efficientnet("lite1"),
    "efficientnet-lite2": _efficientnet("lite2"),
    "mgn": _mgn(ptl=False),
    "mgn-ptl": _mgn(ptl=True),
}
