"""Weights that a new run starts from: another run's, a bundle's, or published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import safetensors
from safetensors.torch import load_file

from reid.bundle import BundleError
from reid.checkpoint import FILE, CheckpointError
from reid.models.build import Embedder
from reid.models.imagenet import load_imagenet
from reid.models.published import groups
from training.evaluate import open_network
from training.published_starts import FILES
from training.recipe import Recipe, RecipeError
from training.weights import is_pickled


def require_start(recipe: Recipe, out: Path) -> None:
    """Raises RecipeError where weights that a new run starts from are not there, before data is read.

    A recipe of a paper's table names published weights; the sentence then says how to get them.
    """
    if not recipe.start or Path(recipe.start).exists() or any(out.rglob(FILE)):
        return
    if not recipe.paper:
        return  # `start_from` says what is wrong, where the method does not name another start first
    ways = [file for file in FILES if file.command.endswith(f" {Path(recipe.start).name}")]
    how = (
        f"get {ways[0].name} ({ways[0].published}) and run: {ways[0].command}"
        if ways
        else "train that run first, or give --set start=RUN"
    )
    raise RecipeError(
        f"{recipe.paper} starts from {recipe.start}, which does not exist; {how}; or give --from-scratch, "
        f"which is no reproduction"
    )


def start_from(embedder: Embedder, source: str) -> tuple[str, ...]:
    """Loads a run folder, a checkpoint, a bundle or published weights in safetensors into a network.

    Published weights are what `resight weights convert` wrote, or a state dict of torchvision. Trunk and neck
    of a Resight network must fit; heads are taken where both networks have them. Returns the names of what
    kept its initialisation. Raises RecipeError for anything else, naming it.
    """
    path = Path(source)
    if not path.exists():
        raise RecipeError(
            f"start {source!r} does not exist; give a run, a checkpoint, a bundle, or published weights as "
            f".safetensors; resight weights says which a recipe's paper starts from"
        )
    if path.is_file() and is_pickled(path):
        raise RecipeError(
            f"start {source!r} is a pickle, which a training does not read; make another file of it first: "
            f"resight weights convert {source} --out {path.stem}.safetensors"
        )
    try:
        if not _is_resight(path):
            fresh = load_imagenet(embedder.trunk, load_file(path))
            rest = [name for name in embedder.state_dict() if not name.startswith("trunk.")]
            return (*(f"trunk.{name}" for name in fresh), *rest)
        source_state = open_network(path).state_dict()
        state = {name: tensor for name, tensor in source_state.items() if not name.startswith("heads.")}
        heads = [name for name in embedder.state_dict() if name.startswith("heads.")]
        own = embedder.state_dict()
        state |= {name: source_state.get(name, own[name]) for name in heads}
        embedder.load_state_dict(state, strict=True)
        return tuple(name for name in heads if name not in source_state)
    except (BundleError, CheckpointError, safetensors.SafetensorError, OSError) as error:
        raise RecipeError(f"start: {error}") from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()[:200]
        raise RecipeError(f"start {source!r} does not fit {embedder.spec.arch}: {reason}") from error


def uninitialised(names: Sequence[str], source: str) -> str:
    """The sentence about what a start left at its initialisation; "" where that is nothing."""
    trunk = groups([name for name in names if name.startswith("trunk.")], depth=2)
    others = groups([name for name in names if not name.startswith("trunk.")])
    counts = ", ".join(f"{start} ({count})" for start, count in (trunk | others).items())
    return f"start {source}: {len(names)} tensors keep their initialisation: {counts}" if names else ""


def _is_resight(path: Path) -> bool:
    if path.is_dir():
        return True
    with safetensors.safe_open(path, framework="pt") as opened:
        return "resight" in (opened.metadata() or {})
