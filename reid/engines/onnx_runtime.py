"""onnxruntime on the CPU, with CUDA or with TensorRT. A new session folds the profile's values."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from reid.batchnorm import BatchNormProfile, write_into_onnx
from reid.bundle import Bundle
from reid.engines.protocol import EngineError, EngineInfo

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class OnnxRuntimeEngine:
    """A session over the bundle's graph.

    Args:
        bundle: what to run. profile: BN values; None keeps the bundle's own.
        provider: a key of `PROVIDERS`.
        cache: folder for built TensorRT engines.

    Raises EngineError if the session does not get that provider: onnxruntime silently falls back to the CPU.
    """

    def __init__(
        self,
        bundle: Bundle,
        profile: BatchNormProfile | None = None,
        provider: str = "cpu",
        cache: str | None = None,
    ) -> None:
        self.bundle, self.provider, self.cache = bundle, provider, cache
        requested = PROVIDERS[provider]
        if requested not in ort.get_available_providers():
            raise EngineError(
                f"onnxruntime {ort.__version__} has no {requested} (it has "
                f"{', '.join(ort.get_available_providers())}); install the GPU packages: pip install -e "
                "'.[gpu]'"
            )
        model = bundle.onnx_model()
        if profile is not None:
            write_into_onnx(profile, model)
        options = ort.SessionOptions()
        options.enable_mem_pattern = False  # batch sizes vary
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=self._providers())
        actual = self.session.get_providers()[0]
        if actual != requested:
            raise EngineError(
                f"onnxruntime {ort.__version__} uses {actual} instead of {requested}: its CUDA libraries do "
                f"not load; install them with: pip install -e '.[gpu]'"
            )

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3] -> float32 [B,D]."""
        return self.session.run(None, {"crops": crops})[0]

    def with_profile(self, profile: BatchNormProfile) -> OnnxRuntimeEngine:
        """A new session with these BN values."""
        return OnnxRuntimeEngine(self.bundle, profile, self.provider, self.cache)

    def describe(self) -> EngineInfo:
        """What the session reports."""
        provider = self.session.get_providers()[0]
        return EngineInfo(
            "onnxruntime", ort.__version__, provider, "cpu" if self.provider == "cpu" else "cuda:0", "fp32"
        )

    def _providers(self) -> list[str | tuple[str, dict[str, str]]]:
        if self.provider == "tensorrt":
            options = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": self.cache or "."}
            return [(PROVIDERS["tensorrt"], options), PROVIDERS["cuda"], PROVIDERS["cpu"]]
        if self.provider == "cuda":
            options = {
                "arena_extend_strategy": "kSameAsRequested",
                "cudnn_conv_algo_search": "HEURISTIC",
                "use_tf32": "0",
            }
            return [(PROVIDERS["cuda"], options), PROVIDERS["cpu"]]
        return [PROVIDERS["cpu"]]
