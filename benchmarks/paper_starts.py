"""Two steps of every recipe of a paper's table, from weights in the names of the published files.

python -m benchmarks.paper_starts [RECIPE ...] [--size 256x128]

The weights are random: nothing is downloaded, and what is shown is that the way from a published file over
`resight weights convert` to a training step is whole. Beside each recipe stands the lowest cosine between a
convolution of the start and the same one after two steps: near 1 says that the run began there. `--size`
takes the place of each recipe's own. Two gigabytes of disk are needed for a while.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from reid.checkpoint import read_embedder
from reid.models.build import Embedder, build
from reid.models.imagenet import load_imagenet
from training.published_starts import FILES
from training.recipe import Recipe, load_recipe
from training.recipe_files import PAPERS
from training.smoke import smoke
from training.weights import convert_weights

_TABLE_6 = {  # what its recipe names, and the recipe that trains it
    "start": ("runs/densenet161-market", "ptl-table1-densenet161"),
    "distill.teacher": ("runs/densenet161-ptl-market-msmt17", "ptl-table1-densenet161-ptl"),
}


class Begun(NamedTuple):
    """What became of two steps of a recipe."""

    recipe: str
    network: str
    start: str
    same: float  # lowest cosine between convolutions of the start and after the steps
    seconds: float


def recipes() -> list[str]:
    """The papers' recipes that start from weights, those first that others start from."""
    names = [path.stem for path in sorted(PAPERS.glob("*.yaml")) if load_recipe(path.stem).start]
    return sorted(names, key=lambda name: name == "ptl-table6")


def published_file(out: str) -> tuple[str, dict[str, Tensor]]:
    """Name and random tensors of the file that is published for `out`, resnet50.safetensors or the like."""
    from torchvision import models  # which a patched width reaches

    name = next(file.name for file in FILES if file.command.endswith(f" {out}"))
    net = (models.densenet161 if "densenet" in out else models.resnet50)(weights=None)
    state = {key: _unlike_fresh(key, tensor) for key, tensor in net.state_dict().items()}
    if "densenet" in out:
        state = {_old(key): tensor for key, tensor in state.items() if "num_batches" not in key}
    if "ibn" in out:
        state = dict(_with_instance_norms(state))
    return name, state


def make_starts(folder: Path) -> None:
    """Every file that the papers' recipes start from, converted from a pickle in the published names."""
    for out in sorted({load_recipe(name).start for name in recipes()} - {_TABLE_6["start"][0]}):
        name, state = published_file(out)
        torch.save(state, folder / name)
        converted = convert_weights(str(folder / name), folder / out)
        if not converted.match.whole:
            raise RuntimeError(f"{name} is not the whole trunk of {out}")
        (folder / name).unlink()


def begin(name: str, starts: Path, work: Path, settings: Sequence[str] = ()) -> Begun:
    """Two steps of a recipe from the files in `starts`; `work` must not hold anything of it, nor does after.

    Where a recipe starts from runs (PTL's Table VI), these take two steps first.
    """
    began = time.monotonic()
    recipe = load_recipe(name, list(settings))
    for key, (run, maker) in _TABLE_6.items() if name == "ptl-table6" else ():
        made = load_recipe(maker, list(settings))
        smoke(made.changed("start", str(starts / made.start)), work / run)
        recipe = recipe.changed(key, str(work / run))
    if name != "ptl-table6":
        recipe = recipe.changed("start", str(starts / recipe.start))
    embedder = smoke(recipe, work / name).pixels.embedder
    same = _cosine(_at_start(recipe), embedder)
    read_embedder(work / name)  # what the run has left can be read
    shutil.rmtree(work / name)
    shutil.rmtree(work / "runs", ignore_errors=True)
    return Begun(name, recipe.model.arch, Path(recipe.start).name, same, time.monotonic() - began)


def _unlike_fresh(name: str, tensor: Tensor) -> Tensor:
    """BatchNorm's values of a fresh network are 0 and 1, which tells nothing of where they went."""
    if tensor.dim() != 1 or not tensor.is_floating_point():
        return tensor.clone()
    shift = 0.1 * torch.randn(tensor.shape)
    return tensor + (shift.abs() if name.endswith("running_var") else shift)


def _old(name: str) -> str:
    """A name of torchvision's DenseNet as it stands in the published file."""
    for part in ("norm1", "norm2", "conv1", "conv2"):
        name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
    return name


def _with_instance_norms(state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A ResNet's state in IBN-Net's names: the first norms of layers 1 to 3 have two halves."""
    for name, tensor in state.items():
        norm, _, value = name.rpartition(".")
        if not norm.endswith(".bn1") or norm.startswith("layer4"):
            yield name, tensor
            continue
        instances, batch = (tensor, tensor) if tensor.dim() == 0 else tensor.chunk(2)
        if value in ("weight", "bias"):
            yield f"{norm}.IN.{value}", instances.clone()
        yield f"{norm}.BN.{value}", batch.clone()


def _at_start(recipe: Recipe) -> dict[str, Tensor]:
    """The convolutions that a recipe's network takes of its start."""
    left: tuple[str, ...] = ()
    if Path(recipe.start).is_dir():
        state = read_embedder(Path(recipe.start))[0].trunk.state_dict()
    else:
        trunk = build(recipe.model).trunk
        left = load_imagenet(trunk, load_file(recipe.start))
        state = trunk.state_dict()
    return {name: t for name, t in state.items() if t.dim() == 4 and name not in left}


def _cosine(start: dict[str, Tensor], embedder: Embedder) -> float:
    after = embedder.trunk.state_dict()
    return min(
        float(F.cosine_similarity(tensor.flatten(), after[name].float().cpu().flatten(), dim=0))
        for name, tensor in start.items()
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="RECIPE", help="all by default")
    parser.add_argument("--size", default="", help="HEIGHTxWIDTH for all, a multiple of 96x32")
    options = parser.parse_args()
    settings = [
        f"model.{side}={n}" for side, n in zip(("height", "width"), options.size.split("x"), strict=False)
    ]
    unknown = set(options.names) - set(recipes())
    if unknown:
        parser.error(f"no recipe of a paper that starts from weights: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        starts, work = Path(folder) / "starts", Path(folder) / "work"
        starts.mkdir()
        make_starts(starts)
        for name in options.names or recipes():
            begun = begin(name, starts, work, settings if options.size else [])
            print(
                f"{begun.recipe:32} {begun.network:20} {begun.start:24} "
                f"cosine {begun.same:.4f} {begun.seconds:5.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
