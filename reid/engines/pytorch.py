"""torch: the reference every other engine is compared with, and the engine of last resort."""

from __future__ import annotations

import numpy as np
import torch

from reid.batchnorm import write_into_model
from reid.bundle import Bundle, BundleError
from reid.engines.protocol import Device, EngineError, EngineInfo
from reid.models.build import Embedder, build
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
        """uint8 [B,H,W,3] -> float32 [B,D]."""
        return self.runner.embed(crops)

    def with_profile(self, profile: Profile) -> TorchEngine:
        """A second network with these BN values."""
        return TorchEngine(self.bundle, profile, self.device)

    def describe(self) -> EngineInfo:
        """What torch reports."""
        return EngineInfo("torch", torch.__version__.split("+")[0], self.device, self.device, "fp32")
