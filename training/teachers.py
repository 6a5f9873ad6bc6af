"""Networks to distill from: a run, a checkpoint or a bundle, or a foreign network in OpenVINO's format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from reid.batches import in_batches
from reid.bundle import MANIFEST, BundleError
from reid.checkpoint import FILE, CheckpointError
from reid.files import usual_mode
from reid.models.build import Embedder, PixelEmbedder
from training.data.loader import load_crops
from training.data.records import Record
from training.evaluate import open_network
from training.recipe import Distill, RecipeError

_GIVE = "give a run folder, a checkpoint, a bundle or an OpenVINO .xml"


class Teacher(Protocol):
    """A network that a student is distilled from.

    It is never trained and is no module, so no optimiser and no checkpoint includes it.
    """

    dim: int
    size: tuple[int, int]  # height and width of the crops it was trained on

    def __call__(self, crops: Tensor) -> Tensor:
        """uint8 [B,H,W,3] of any size -> float32 [B,dim], the retrieval feature before unit length.

        Without gradient.
        """
        ...


class TorchTeacher:
    """A network of Resight's, always in eval mode."""

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
    """A foreign network: a BGR image batch [B,3,H,W] of 0..255 in, one vector for each image out."""

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
            raise RecipeError(
                f"teacher {path} is not a network that OpenVINO can read: "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error

    @torch.no_grad()
    def __call__(self, crops: Tensor) -> Tensor:
        """See Teacher."""
        x = crops.flip(3).permute(0, 3, 1, 2).float()
        if tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        features = np.asarray(self.compiled(x.cpu().numpy())[0]).reshape(len(crops), -1)
        return torch.from_numpy(features.copy()).to(crops.device)


class Ensemble:
    """Several teachers as one: their features concatenated."""

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.teachers = teachers
        self.dim = sum(teacher.dim for teacher in teachers)
        self.size = max(teacher.size for teacher in teachers)

    def __call__(self, crops: Tensor) -> Tensor:
        """See Teacher."""
        return torch.cat([teacher(crops) for teacher in self.teachers], dim=1)


def open_teacher(source: str) -> Teacher:
    """The teacher at a path, or the ensemble of several paths joined by `+`.

    Raises RecipeError where there is none.
    """
    if not source:
        raise RecipeError(f"distill.teacher is empty; {_GIVE}")
    teachers = [_open(path) for path in teacher_paths(source)]
    return teachers[0] if len(teachers) == 1 else Ensemble(teachers)


def teacher_paths(source: str) -> list[Path]:
    """The files or folders of a teacher; a path that exists may have a `+` in its name."""
    if Path(source).exists():
        return [Path(source)]
    return [Path(part) for part in source.split("+")]


def _open(path: Path) -> Teacher:
    if not path.exists():
        raise RecipeError(f"distill.teacher {str(path)!r} does not exist; {_GIVE}")
    try:
        if path.suffix == ".xml":
            return OpenVinoTeacher(path)
        return TorchTeacher(open_network(path))
    except (BundleError, CheckpointError) as error:
        raise RecipeError(f"distill.teacher: {error}") from error


def cached_features(
    teacher: Teacher, settings: Distill, records: Sequence[Record], device: torch.device
) -> Tensor:
    """The teacher's features float32 [N,dim] of the whole crops, from the cache.

    The first call computes and stores them. Raises RecipeError where the cache holds another teacher's
    features or those of other crops.
    """
    path, key = Path(settings.cache), _fingerprint(teacher_paths(settings.teacher), records)
    if not path.exists():

        def compute(rows: slice) -> np.ndarray:
            crops = torch.from_numpy(load_crops(records[rows], *teacher.size))
            return teacher(crops.to(device)).cpu().numpy()

        features = torch.from_numpy(in_batches(len(records), compute))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".new")
        with usual_mode(partial):
            save_file({"features": features}, partial, metadata={"key": key})
        partial.replace(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                raise RecipeError(
                    f"distill.cache {path} holds features of another teacher or other crops; "
                    f"give another file, or delete this one"
                )
            return file.get_tensor("features").to(device)
    except (safetensors.SafetensorError, OSError) as error:
        raise RecipeError(f"distill.cache {path} cannot be read: {error}") from error


def _fingerprint(teachers: Sequence[Path], records: Sequence[Record]) -> str:
    """A hash of the teachers' weights (or their hashes in a bundle's manifest) and of the crops' files."""
    digest = hashlib.sha256()
    for teacher in teachers:
        for file in (teacher / FILE, teacher / MANIFEST, teacher, teacher.with_suffix(".bin")):
            digest.update(file.read_bytes() if file.is_file() else b"")
    for record in records:
        digest.update(f"{record.path.parts[-3:]} {record.path.stat().st_size}\n".encode())
    return digest.hexdigest()
