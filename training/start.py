"""Weights that a new run starts from: another run's, a bundle's, or ImageNet's."""

from __future__ import annotations

from pathlib import Path

import safetensors
from safetensors.torch import load_file

from reid.bundle import BundleError
from reid.checkpoint import CheckpointError
from reid.models.build import Embedder
from reid.models.imagenet import load_imagenet
from training.evaluate import open_network
from training.recipe import RecipeError


def start_from(embedder: Embedder, source: str) -> None:
    """Loads a run folder, a checkpoint, a bundle or ImageNet weights in safetensors into a network.

    ImageNet weights are a state dict of torchvision, or what `resight weights convert` wrote. Trunk and neck
    of a Resight network must fit; heads are taken where both networks have them. Raises RecipeError for
    anything else, naming it.
    """
    path = Path(source)
    if not path.exists():
        raise RecipeError(
            f"start {source!r} does not exist; give a run, a checkpoint, a bundle, or ImageNet weights as "
            f".safetensors"
        )
    try:
        if _is_resight(path):
            source_state = open_network(path).state_dict()
            state = {name: tensor for name, tensor in source_state.items() if not name.startswith("heads.")}
            for name, tensor in embedder.state_dict().items():
                if name.startswith("heads."):
                    state[name] = source_state.get(name, tensor)
            embedder.load_state_dict(state, strict=True)
        else:
            load_imagenet(embedder.trunk, load_file(path))
    except (BundleError, CheckpointError, safetensors.SafetensorError, OSError) as error:
        raise RecipeError(f"start: {error}") from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()[:200]
        raise RecipeError(f"start {source!r} does not fit {embedder.spec.arch}: {reason}") from error


def _is_resight(path: Path) -> bool:
    if path.is_dir():
        return True
    with safetensors.safe_open(path, framework="pt") as opened:
        return "resight" in (opened.metadata() or {})
