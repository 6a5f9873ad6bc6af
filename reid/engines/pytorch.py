"""torch: the reference every other engine is compared with, and the engine of last resort."""

from __future__ import annotations

import numpy as np
import torch

from reid.batchnorm import write_into_model
from reid.bundle import Bundle, BundleError
from reid.crops import checked_crops, checked_rows
from reid.engines.protocol import Device, EngineError, EngineInfo
from reid.engines.rows import rows_layers
from reid.models.build import Embedder, batchnorm_layers, build
from reid.models.runner import CropRunner
from reid.models.spec import ModelSpec
from reid.profile import Profile


def torch_device(device: Device) -> str:
    """Where torch computes: cuda:0 or cpu. Raises EngineError if `cuda` is asked for and torch finds none."""
    if device != "cpu" and torch.cuda.is_available():
        return "cuda:0"
    if device == "cuda":
        raise EngineError("torch finds no CUDA device; choose device cpu")
    return "cpu"


def compute_in_float32() -> None:
    """Convolutions on a GPU multiply in float32 in this process; torch's default there is TF32 with its ten
    bits, which moves embeddings and adapted values."""
    torch.backends.cudnn.allow_tf32 = False


def load_embedder(bundle: Bundle, profile: Profile | None = None) -> Embedder:
    """The bundle's network as a torch module in eval mode.

    Raises BundleError for a wrapped foreign model, or one whose specification this version cannot build.
    """
    if not bundle.manifest.model:
        raise BundleError(f"bundle {bundle.path} wraps a foreign model; it has no torch network")
    try:
        spec = ModelSpec.from_dict(bundle.manifest.model)
    except ValueError as error:
        raise BundleError(f"bundle {bundle.path}: {error}") from error
    embedder = build(spec)
    embedder.load_state_dict({k: torch.from_numpy(v) for k, v in bundle.weights().items()}, strict=True)
    if profile is not None:
        write_into_model(profile, embedder)
    return embedder.eval()


class TorchEngine:
    """Eager torch in float32.

    Args:
        bundle: what to run. profile: BN values; None keeps the bundle's own. device: cpu, cuda or cuda:N.
    """

    def __init__(self, bundle: Bundle, profile: Profile | None = None, device: str = "cpu") -> None:
        compute_in_float32()
        self.bundle, self.device = bundle, device
        self.runner = CropRunner(load_embedder(bundle, profile), device)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3] -> float32 [B,D]. Raises CropsError for other crops."""
        return self.runner.embed(crops)

    def with_profile(self, profile: Profile) -> TorchEngine:
        """A second network with these BN values."""
        return TorchEngine(self.bundle, profile, self.device)

    def with_rows(self) -> TorchRows:
        """A second network for any number of tables."""
        return TorchRows(self.bundle, self.device)

    def describe(self) -> EngineInfo:
        """What torch reports."""
        return _info(self.device)


class TorchRows:
    """Eager torch in float32, which runs the crops of each table in turn."""

    def __init__(self, bundle: Bundle, device: str = "cpu") -> None:
        compute_in_float32()
        self.layers, self.device = rows_layers(bundle.onnx_model()), device
        self.dim, self.size = bundle.manifest.dim, bundle.size
        embedder = load_embedder(bundle)
        of_model = batchnorm_layers(embedder)
        self.batchnorms = [of_model[layer] for layer in self.layers]
        self.runner = CropRunner(embedder, device)
        for layer in self.batchnorms:
            layer.reset_running_stats()  # mean 0, variance 1

    def embed(self, crops: np.ndarray, rows: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3], int32 [B], float32 [T,2,C] -> float32 [B,D]. Raises CropsError for others."""
        crops = checked_crops(crops, *self.size)
        checked_rows(rows, tables, len(crops), sum(layer.num_features for layer in self.batchnorms))
        embeddings = np.empty((len(crops), self.dim), np.float32)
        for row in np.unique(rows):
            self._write(tables[row])
            embeddings[rows == row] = self.runner.embed(crops[rows == row])
        return embeddings

    def describe(self) -> EngineInfo:
        """What torch reports."""
        return _info(self.device)

    def _write(self, table: np.ndarray) -> None:
        start = 0
        with torch.no_grad():
            for layer in self.batchnorms:
                scale, shift = table[:, start : start + layer.num_features]
                layer.weight.copy_(torch.from_numpy(scale * (1 + layer.eps) ** 0.5))
                layer.bias.copy_(torch.from_numpy(shift))
                start += layer.num_features


def _info(device: str) -> EngineInfo:
    return EngineInfo("torch", torch.__version__.split("+")[0], device, device, "fp32")
