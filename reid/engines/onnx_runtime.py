"""onnxruntime on the CPU, with CUDA or with TensorRT. A new session folds the profile's values."""

from __future__ import annotations

import contextlib
import functools
import io
import threading

import numpy as np
import onnxruntime as ort
from onnx import ModelProto
from onnxruntime.capi import onnxruntime_pybind11_state

from reid.batchnorm import write_into_onnx
from reid.bundle import Bundle
from reid.crops import checked_crops, checked_rows
from reid.engines.protocol import EngineError, EngineInfo
from reid.engines.rows import ROWS, TABLES, rows_channels, rows_graph, rows_layers
from reid.profile import Profile


def _errors_of_onnxruntime() -> tuple[type[Exception], ...]:
    """What a session raises: onnxruntime's own errors have no base in common, and its Python part raises
    RuntimeError and ValueError."""
    errors: list[type[Exception]] = []
    for value in vars(onnxruntime_pybind11_state).values():
        if isinstance(value, type) and issubclass(value, Exception):
            errors.append(value)
    return (*errors, RuntimeError, ValueError)


PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_ON_SHAPES = {"Shape", "Squeeze", "Unsqueeze", "Gather", "Slice", "Concat", "Cast", "Constant", "Reshape"}
_HEAVY = {"Conv", "Gemm", "MatMul"}
RUNTIME_ERRORS = _errors_of_onnxruntime()
_PRELOADING = threading.Lock()
_RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"


class OnnxRuntimeEngine:
    """A session over the bundle's graph.

    Args:
        bundle: what to run. profile: BN values; None keeps the bundle's own.
        provider: a key of `PROVIDERS`.
        cache: folder for built TensorRT engines.

    Raises EngineError if the session does not get that provider, or places parts of the network elsewhere:
    onnxruntime falls back to the CPU without an error.
    """

    def __init__(
        self,
        bundle: Bundle,
        profile: Profile | None = None,
        provider: str = "cpu",
        cache: str | None = None,
    ) -> None:
        self.bundle, self.provider, self.cache = bundle, provider, cache
        model = bundle.onnx_model()
        if profile is not None:
            write_into_onnx(profile, model)
        self.session = _open_session(model, provider, cache)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3] -> float32 [B,D]. Raises CropsError for other crops."""
        crops = checked_crops(crops, *self.bundle.size)
        return self.session.run(None, {"crops": crops})[0]

    def with_profile(self, profile: Profile) -> OnnxRuntimeEngine:
        """A new session with these BN values."""
        return OnnxRuntimeEngine(self.bundle, profile, self.provider, self.cache)

    def with_rows(self) -> OnnxRuntimeRows:
        """A new session for any number of tables."""
        return OnnxRuntimeRows(self.bundle, self.provider, self.cache)

    def describe(self) -> EngineInfo:
        """What the session reports."""
        return _info(self.session)


class OnnxRuntimeRows:
    """A session over the bundle's graph in which every crop has its table. See OnnxRuntimeEngine."""

    def __init__(self, bundle: Bundle, provider: str = "cpu", cache: str | None = None) -> None:
        model = bundle.onnx_model()
        self.layers, self.channels, self.size = rows_layers(model), rows_channels(model), bundle.size
        self.session = _open_session(rows_graph(model), provider, cache)

    def embed(self, crops: np.ndarray, rows: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3], int32 [B], float32 [T,2,C] -> float32 [B,D]. Raises CropsError for others."""
        crops = checked_crops(crops, *self.size)
        checked_rows(rows, tables, len(crops), self.channels)
        return self.session.run(None, {"crops": crops, ROWS: rows, TABLES: tables})[0]

    def describe(self) -> EngineInfo:
        """What the session reports."""
        return _info(self.session)


def _info(session: ort.InferenceSession) -> EngineInfo:
    provider = session.get_providers()[0]
    device = "cpu" if provider == PROVIDERS["cpu"] else "cuda:0"
    return EngineInfo("onnxruntime", ort.__version__, provider, device, "fp32")


def _open_session(model: ModelProto, provider: str, cache: str | None) -> ort.InferenceSession:
    """A session with that provider. Raises EngineError as OnnxRuntimeEngine says."""
    requested = PROVIDERS[provider]
    if requested not in ort.get_available_providers():
        raise EngineError(
            f"onnxruntime {ort.__version__} has no {requested} (it has "
            f"{', '.join(ort.get_available_providers())}); install the GPU packages: pip install -e "
            "'.[gpu]'"
        )
    options = ort.SessionOptions()
    options.enable_mem_pattern = False  # batch sizes vary
    options.log_severity_level = 3
    options.add_session_config_entry(_RECORD_PLACEMENT, "1")
    complaint = _load_cuda_libraries() if provider != "cpu" else ""
    graph, providers = model.SerializeToString(), _providers(provider, cache)
    try:
        session = ort.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except RUNTIME_ERRORS as error:
        raise EngineError(f"onnxruntime {ort.__version__} with {requested}: {error}") from error
    actual = session.get_providers()[0]
    if actual != requested:
        raise EngineError(
            f"onnxruntime {ort.__version__} uses {actual} instead of {requested}: its "
            f"{'TensorRT or CUDA' if provider == 'tensorrt' else 'CUDA'} libraries do not load"
            f"{f' ({complaint})' if complaint else ''}; install them with: pip install -e '.[gpu]'"
        )
    elsewhere = _misplaced(session, requested)
    if elsewhere:
        raise EngineError(
            f"onnxruntime {ort.__version__} runs only a part of the network with {requested}; "
            f"elsewhere: {', '.join(elsewhere)}"
        )
    return session


def _providers(provider: str, cache: str | None) -> list[str | tuple[str, dict[str, str]]]:
    if provider == "tensorrt":
        # "1" would not do: this option takes the words True and False only
        options = {"trt_engine_cache_enable": "True", "trt_engine_cache_path": cache or "."}
        return [(PROVIDERS["tensorrt"], options), PROVIDERS["cuda"], PROVIDERS["cpu"]]
    if provider == "cuda":
        options = {
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            "use_tf32": "0",
        }
        return [(PROVIDERS["cuda"], options), PROVIDERS["cpu"]]
    return [PROVIDERS["cpu"]]


def _load_cuda_libraries() -> str:
    """Loads CUDA's and cuDNN's libraries out of their packages, where onnxruntime does not look by itself.

    Returns what onnxruntime says about those that do not load, in one line.
    """
    with _PRELOADING:
        return _preloaded()


@functools.cache
def _preloaded() -> str:
    """Once a process, and under the lock: onnxruntime prints what fails, and the output that is read here is
    the whole process's."""
    preload = getattr(ort, "preload_dlls", None)  # versions before 1.21 lack it
    if preload is None:
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        preload()
    return "; ".join(line.strip() for line in printed.getvalue().splitlines() if line.startswith("Failed"))


def _misplaced(session: ort.InferenceSession, requested: str) -> list[str]:
    """Operators, as "Conv on CPUExecutionProvider", that should run with the requested provider and do not.

    Arithmetic on shapes belongs on the CPU. TensorRT may leave small operators to CUDA, convolutions never.
    """
    record = getattr(session, "get_provider_graph_assignment_info", None)  # versions before 1.24 lack it
    if record is None or requested == PROVIDERS["cpu"]:
        return []
    misplaced = set()
    for part in record():
        for node in part.get_nodes():
            on_cpu = part.ep_name == PROVIDERS["cpu"] and node.op_type not in _ON_SHAPES
            left_over = part.ep_name != requested and node.op_type in _HEAVY
            if on_cpu or left_over:
                misplaced.add(f"{node.op_type} on {part.ep_name}")
    return sorted(misplaced)
