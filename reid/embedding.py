"""A bundle as a library: pictures in, vectors out, and how far apart two vectors are."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from reid.batches import BATCH
from reid.bundle import Bundle
from reid.engines import Device, Engine, choose_engine
from reid.images import Crop, ImageError
from reid.pictures import Picture, crop_of, is_one, named
from reid.profile import space_id


class Model:
    """A bundle's network, ready to embed. Make one with `load`; use it from one thread at a time."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle, self.engine = bundle, engine
        self.size, self.dim = bundle.size, bundle.manifest.dim

    def embed(self, pictures: Picture | Iterable[Picture], batch: int = BATCH) -> np.ndarray:
        """float32 [N,D], unit length, a row for each picture in their order; one picture alone is one row.

        Args:
            pictures: paths, encoded bytes, open binary files, arrays uint8 [H,W,3] (RGB, of any size; OpenCV
                reads BGR), arrays uint8 [N,H,W,3], Pillow images; any of them mixed.
            batch: pictures in memory at a time.

        Raises ImageError that names the picture, by its place and path, and says what is wrong with it.
        """
        rows = [self.engine.embed(np.stack(crops)) for crops in self._batches(pictures, batch)]
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    @property
    def raw_space_id(self) -> str:
        """The name of the space of its vectors: that of a server with the same bundle and precision, at a
        site that is not adapted."""
        bundle = self.bundle
        precision = bundle.precision_id(self.engine.describe().precision)
        return space_id(bundle.base_id, bundle.profile().id, bundle.manifest.preprocessing, precision)

    def __repr__(self) -> str:
        """What runs where."""
        info = self.engine.describe()
        return f"<resight.Model {self.bundle.path} on {info.engine} {info.provider} {info.precision}>"

    def _batches(self, pictures: Picture | Iterable[Picture], batch: int) -> Iterator[list[Crop]]:
        crops = itertools.starmap(self._crop, enumerate(_each(pictures)))
        while some := list(itertools.islice(crops, batch)):
            yield some

    def _crop(self, place: int, picture: Picture) -> Crop:
        try:
            return crop_of(picture, *self.size)
        except ImageError as error:
            raise type(error)(f"picture {place} ({named(picture)}): {error}") from error


def load(path: str | os.PathLike[str], device: Device = "auto", engine: str = "auto") -> Model:
    """A bundle as a model.

    Args:
        path: a `.resight` folder, as `resight export` writes it.
        device: `cuda` forbids the CPU, `cpu` forbids the GPU. engine: `auto`, or one that is installed.

    Raises BundleError for anything else than a whole bundle, EngineError where nothing here can run it.
    """
    bundle = Bundle.load(os.fspath(path))
    return Model(bundle, choose_engine(bundle, device, engine))


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray | float:
    """Cosine distances, 1 - cosine, between 0 (same direction) and 2 (opposite).

    Args:
        a: [A,D] or [D]. b: [B,D] or [D]; of any float type and length.

    Returns float32 [A,B]; a single vector's axis is left out, so that two vectors give a float. Raises
    ValueError for vectors of different dimensions and for values that are no numbers.
    """
    first, second = _directions(a), _directions(b)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"vectors of {first.shape[1]} and of {second.shape[1]} dimensions cannot be compared"
        )
    distances = np.clip(1 - first @ second.T, 0, 2).astype(np.float32)
    if np.ndim(a) == 1:
        distances = distances[0]
    if np.ndim(b) == 1:
        distances = distances[..., 0]
    return distances if distances.ndim else float(distances)


def _each(pictures: Any) -> Iterable[Picture]:
    """The pictures one by one. Raises ImageError for what is neither a picture nor several."""
    if is_one(pictures):
        return [pictures]
    if not isinstance(pictures, Iterable):
        raise ImageError(f"{type(pictures).__name__} is no picture and holds none")
    return pictures


def _directions(vectors: np.ndarray) -> np.ndarray:
    """float64 [N,D] of unit length."""
    rows = np.atleast_2d(np.asarray(vectors, np.float64))
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"vectors are [N,D] or [D] of finite numbers, not {list(np.shape(vectors))}")
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
