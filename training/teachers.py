"""Networks to distill from: ours from a run, a checkpoint or a bundle, and foreign ones in OpenVINO's format."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.bundle import BundleError
from reid.checkpoint import CheckpointError
from reid.models.build import Embedder, PixelEmbedder
from training.evaluate import open_network
from training.recipe import RecipeError


class Teacher(Protocol):
    """What a student learns from. Never trained: not a module, so no optimiser and no checkpoint can find it."""

    dim: int

    def __call__(self, crops: Tensor) -> Tensor:
        """uint8 [B,H,W,3] of any size -> float32 [B,dim] without gradient: the retrieval feature before unit length."""
        ...


class TorchTeacher:
    """One of our own networks, in eval mode for good."""

    def __init__(self, embedder: Embedder) -> None:
        self.pixels = PixelEmbedder(embedder.eval().requires_grad_(False))
        self.dim = embedder.spec.dim
        self.size = (embedder.spec.height, embedder.spec.width)

    @torch.no_grad()
    def __call__(self, crops: Tensor) -> Tensor:
        """See Teacher."""
        self.pixels.to(crops.device)
        x = self.pixels.normalise(crops)
        if tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        return self.pixels.embedder.retrieval(x).float()


class OpenVinoTeacher:
    """A foreign network: one BGR image batch [B,3,H,W] of 0..255 in, one vector each out."""

    def __init__(self, path: Path) -> None:
        import openvino

        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            shape = model.input(0).shape
            self.size = (shape[2], shape[3])
            model.reshape([-1, *shape[1:]])
            self.compiled = core.compile_model(model, "CPU")
            self.dim = int(self.compiled.output(0).partial_shape[1].get_length())
        except (RuntimeError, IndexError) as error:
            raise RecipeError(f"teacher {path} is no network that OpenVINO reads: {str(error).strip().splitlines()[-1]}") from error

    @torch.no_grad()
    def __call__(self, crops: Tensor) -> Tensor:
        """See Teacher."""
        x = crops.flip(3).permute(0, 3, 1, 2).float()
        if tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        found = np.asarray(self.compiled(x.cpu().numpy())[0]).reshape(len(crops), -1)
        return torch.from_numpy(found.copy()).to(crops.device)


def open_teacher(source: str) -> Teacher:
    """The teacher at a path. Raises RecipeError where there is none."""
    path = Path(source)
    if not source or not path.exists():
        raise RecipeError(f"distill.teacher {source!r} does not exist; give a run folder, a checkpoint, a bundle or an OpenVINO .xml")
    try:
        if path.suffix == ".xml":
            return OpenVinoTeacher(path)
        return TorchTeacher(open_network(path))
    except (BundleError, CheckpointError) as error:
        raise RecipeError(f"distill.teacher: {error}") from error
