"""onnxruntime on the CPU, with CUDA or with TensorRT. A new session folds the profile's values."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import threading

import numpy as np
import onnxruntime as ort
from onnx import ModelProto

from reid.batchnorm import write_into_onnx
from reid.bundle import Bundle
from reid.crops import checked_crops, checked_rows
from reid.engines.agreement import check_agreement, probe_crops
from reid.engines.half import half_graph
from reid.engines.protocol import EngineError, EngineInfo
from reid.engines.providers import PROVIDERS, GpuOptions, provider_options
from reid.engines.rows import ROWS, TABLES, pack, rows_channels, rows_graph, rows_layers
from reid.engines.running import RUNTIME_ERRORS, Running
from reid.profile import Profile

_ON_SHAPES = {"Shape", "Squeeze", "Unsqueeze", "Gather", "Slice", "Concat", "Cast", "Constant", "Reshape"}
_HEAVY = {"Conv", "Gemm", "MatMul"}
_PROBES = 16  # crops that an engine on a GPU is checked with
_PRELOADING = threading.Lock()
_RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"


class OnnxRuntimeEngine:
    """A session over the bundle's graph.

    Args:
        bundle: what to run. profile: BN values; None keeps the bundle's own.
        provider: a key of `PROVIDERS`. gpu: how a GPU is used.
        precision: fp32, or fp16 for a GPU.

    Raises EngineError if the session does not get that provider, or places parts of the network elsewhere:
    onnxruntime falls back to the CPU without an error. What it computes is checked by `verify`.
    """

    def __init__(
        self,
        bundle: Bundle,
        profile: Profile | None = None,
        provider: str = "cpu",
        gpu: GpuOptions = GpuOptions(),
        precision: str = "fp32",
    ) -> None:
        self.bundle, self.profile, self.provider = bundle, profile, provider
        self.gpu, self.precision = gpu, precision
        tables = bundle.base_id if profile is None else profile.tables_id
        name = f"{bundle.base_id}-{tables}"
        self.session = _open_session(self._graph(), provider, name, gpu, precision)
        self.running = Running(self.session, None if provider == "cpu" else self._on_cpu, gpu.fallbacks)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3] -> float32 [B,D]. Raises CropsError for other crops."""
        return self.running.run({"crops": checked_crops(crops, *self.bundle.size)})

    def verify(self) -> OnnxRuntimeEngine:
        """This engine, after a look at what it computes. Raises EngineError if the CPU says otherwise."""
        if self.provider != "cpu":
            crops = probe_crops(*self.bundle.size, _PROBES)
            expected = OnnxRuntimeEngine(self.bundle, self.profile).embed(crops)
            base = OnnxRuntimeEngine(self.bundle).embed(crops) if self.profile is not None else None
            _agree(self.provider, self.embed(crops), expected, self.precision, base)
        return self

    def with_profile(self, profile: Profile) -> OnnxRuntimeEngine:
        """A new session with these BN values."""
        return OnnxRuntimeEngine(self.bundle, profile, self.provider, self.gpu, self.precision).verify()

    def with_rows(self) -> OnnxRuntimeRows:
        """A new session for any number of tables."""
        return OnnxRuntimeRows(self.bundle, self.provider, self.gpu, self.precision).verify()

    def describe(self) -> EngineInfo:
        """What the session reports."""
        return _info(self.session, self.precision)

    def _graph(self) -> ModelProto:
        model = self.bundle.onnx_model()
        if self.profile is not None:
            write_into_onnx(self.profile, model)
        return model

    def _on_cpu(self) -> ort.InferenceSession:
        return _open_session(self._graph(), "cpu")


class OnnxRuntimeRows:
    """A session over the bundle's graph in which every crop has its table. See OnnxRuntimeEngine."""

    def __init__(
        self,
        bundle: Bundle,
        provider: str = "cpu",
        gpu: GpuOptions = GpuOptions(),
        precision: str = "fp32",
    ) -> None:
        self.bundle, self.provider, self.precision = bundle, provider, precision
        model = bundle.onnx_model()
        self.layers, self.channels, self.size = rows_layers(model), rows_channels(model), bundle.size
        self.session = _open_session(rows_graph(model), provider, f"{bundle.base_id}-rows", gpu, precision)
        self.running = Running(self.session, None if provider == "cpu" else self._on_cpu, gpu.fallbacks)

    def embed(self, crops: np.ndarray, rows: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3], int32 [B], float32 [T,2,C] -> float32 [B,D]. Raises CropsError for others."""
        crops = checked_crops(crops, *self.size)
        checked_rows(rows, tables, len(crops), self.channels)
        return self.running.run({"crops": crops, ROWS: rows}, {TABLES: tables})

    def verify(self) -> OnnxRuntimeRows:
        """See OnnxRuntimeEngine."""
        if self.provider != "cpu":
            crops, table = probe_crops(*self.size, _PROBES), pack(self.bundle.profile(), self.layers)
            expected = OnnxRuntimeEngine(self.bundle).embed(crops)
            answers = self.embed(crops, np.zeros(_PROBES, np.int32), table[None])
            _agree(self.provider, answers, expected, self.precision)
        return self

    def describe(self) -> EngineInfo:
        """What the session reports."""
        return _info(self.session, self.precision)

    def _on_cpu(self) -> ort.InferenceSession:
        return _open_session(rows_graph(self.bundle.onnx_model()), "cpu")


def _agree(
    provider: str,
    embeddings: np.ndarray,
    expected: np.ndarray,
    precision: str,
    base: np.ndarray | None = None,
) -> None:
    try:
        check_agreement(embeddings, expected, precision, base)
    except EngineError as error:
        raise EngineError(
            f"onnxruntime {ort.__version__} with {PROVIDERS[provider]} in {precision}: {error}"
        ) from error


def _info(session: ort.InferenceSession, precision: str) -> EngineInfo:
    provider = session.get_providers()[0]
    device = "cpu" if provider == PROVIDERS["cpu"] else "cuda:0"
    return EngineInfo("onnxruntime", ort.__version__, provider, device, precision)


def _open_session(
    model: ModelProto,
    provider: str,
    name: str = "",
    gpu: GpuOptions = GpuOptions(),
    precision: str = "fp32",
) -> ort.InferenceSession:
    """A session with that provider. Raises EngineError as OnnxRuntimeEngine says."""
    requested = PROVIDERS[provider]
    if requested not in ort.get_available_providers():
        raise EngineError(
            f"onnxruntime {ort.__version__} has no {requested} (it has "
            f"{', '.join(ort.get_available_providers())}); install the GPU packages: {_install(provider)}"
        )
    options = ort.SessionOptions()
    options.enable_mem_pattern = False  # batch sizes vary
    options.log_severity_level = 3
    options.add_session_config_entry(_RECORD_PLACEMENT, "1")
    complaint = _load_gpu_libraries(provider) if provider != "cpu" else ""
    try:
        providers = provider_options(provider, model, name, precision, gpu)
    except OSError as error:
        raise EngineError(f"the folder for built engines cannot be made: {error}") from error
    graph = (half_graph(model) if precision == "fp16" else model).SerializeToString()
    try:
        session = ort.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except RUNTIME_ERRORS as error:
        raise EngineError(f"onnxruntime {ort.__version__} with {requested}: {error}") from error
    actual = session.get_providers()[0]
    if actual != requested:
        raise EngineError(
            f"onnxruntime {ort.__version__} uses {actual} instead of {requested}: its "
            f"{'TensorRT or CUDA' if provider == 'tensorrt' else 'CUDA'} libraries do not load"
            f"{f' ({complaint})' if complaint else ''}; install them with: {_install(provider)}"
        )
    elsewhere = _misplaced(session, requested)
    if elsewhere:
        raise EngineError(
            f"onnxruntime {ort.__version__} runs only a part of the network with {requested}; "
            f"elsewhere: {', '.join(elsewhere)}"
        )
    return session


def _install(provider: str) -> str:
    return f"pip install -e '.[{'gpu,tensorrt' if provider == 'tensorrt' else 'gpu'}]'"


def _load_gpu_libraries(provider: str) -> str:
    """Loads what the provider needs, and returns in one line what did not load."""
    complaints = [_load_cuda_libraries()]
    if provider == "tensorrt":
        try:
            importlib.import_module("tensorrt_libs")  # which is how libnvinfer is found
        except (ImportError, OSError) as error:
            complaints.append(f"tensorrt_libs: {error}")
    return "; ".join(filter(None, complaints))


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
