"""OpenVINO on the CPU: the fastest engine there, and the only one with bf16 and int8."""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence

import numpy as np
import openvino as ov
from onnx import ModelProto

from reid.batchnorm import write_into_onnx
from reid.bundle import Bundle
from reid.crops import checked_crops, checked_rows
from reid.engines.cores import Cores
from reid.engines.int8 import int8_graph
from reid.engines.protocol import EngineError, EngineInfo
from reid.engines.rows import ROWS, TABLES, rows_channels, rows_graph, rows_layers
from reid.profile import Profile

# Around its convolutions int8 computes in float32, so that it answers the same on CPUs with and without bf16.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}


class OpenVinoEngine:
    """A compiled model over the bundle's graph.

    Args:
        bundle: what to run. profile: BN values; None keeps the bundle's own.
        precision: fp32, bf16 or int8; None takes what passed the export's parity gate, fp32 where nothing
            did. A CPU without bf16 computes in fp32 all the same; `describe` reports it.
        cores: how it uses them.

    Raises EngineError for int8 where the bundle does not say how to round.
    """

    def __init__(
        self,
        bundle: Bundle,
        profile: Profile | None = None,
        precision: str | None = None,
        cores: Cores = Cores(),
    ) -> None:
        self.bundle, self.profile, self.cores = bundle, profile, cores
        if precision is None:
            passed = bundle.manifest.engines.get("openvino")
            precision = passed.precision if passed is not None else "fp32"
        self.requested_precision = precision
        model = bundle.onnx_model()
        if profile is not None:
            write_into_onnx(profile, model)
        self.compiled = _compile(_in_precision(model, bundle, precision), precision, cores)
        self.requests = _Requests(self.compiled, cores.at_once)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3] -> float32 [B,D]. Raises CropsError for other crops."""
        return self.requests.run([checked_crops(crops, *self.bundle.size)])

    def with_profile(self, profile: Profile) -> OpenVinoEngine:
        """A new compiled model with these BN values."""
        return OpenVinoEngine(self.bundle, profile, self.requested_precision, self.cores)

    def with_rows(self) -> OpenVinoRows:
        """A new compiled model for any number of tables."""
        return OpenVinoRows(self.bundle, self.requested_precision, self.cores)

    def with_cores(self, cores: Cores) -> OpenVinoEngine:
        """A new compiled model of the same that uses the cores in another way."""
        return OpenVinoEngine(self.bundle, self.profile, self.requested_precision, cores)

    def describe(self) -> EngineInfo:
        """What the compiled model reports."""
        return _info(self.compiled, self.requested_precision)


class OpenVinoRows:
    """A compiled model over the bundle's graph in which every crop has its table.

    Args:
        precision, cores: as of OpenVinoEngine.
    """

    def __init__(self, bundle: Bundle, precision: str, cores: Cores = Cores()) -> None:
        self.bundle = bundle
        model = bundle.onnx_model()
        self.layers, self.channels, self.size = rows_layers(model), rows_channels(model), bundle.size
        self.precision = precision
        self.compiled = _compile(_in_precision(rows_graph(model), bundle, precision), precision, cores)
        self.requests = _Requests(self.compiled, cores.at_once)

    def embed(self, crops: np.ndarray, rows: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3], int32 [B], float32 [T,2,C] -> float32 [B,D]. Raises CropsError for others."""
        crops = checked_crops(crops, *self.size)
        checked_rows(rows, tables, len(crops), self.channels)
        return self.requests.run({"crops": crops, ROWS: rows, TABLES: tables})

    def with_cores(self, cores: Cores) -> OpenVinoRows:
        """A new compiled model of the same that uses the cores in another way."""
        return OpenVinoRows(self.bundle, self.precision, cores)

    def describe(self) -> EngineInfo:
        """What the compiled model reports."""
        return _info(self.compiled, self.precision)


def _in_precision(model: ModelProto, bundle: Bundle, precision: str) -> ModelProto:
    """The graph to compile; one of another precision than int8 stays as it is."""
    if precision != "int8":
        return model
    int8 = bundle.int8()
    if int8 is None:
        raise EngineError(
            f"bundle {bundle.manifest.name} does not say how to round; see: resight bundle quantize --help"
        )
    return int8_graph(model, int8.ranges)


class _Requests:
    """Lets as many threads infer at once as there are requests; others wait for one."""

    def __init__(self, compiled: ov.CompiledModel, count: int) -> None:
        self.free: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(count):
            self.free.put(compiled.create_infer_request())

    def run(self, inputs: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> np.ndarray:
        """The first output, as a copy."""
        request = self.free.get()
        try:
            request.infer(inputs, share_inputs=True)
            return request.get_output_tensor(0).data.copy()
        finally:
            self.free.put(request)


def _compile(model: ModelProto, precision: str, cores: Cores) -> ov.CompiledModel:
    core = ov.Core()
    # LATENCY gives one request every core; THROUGHPUT gives each stream some of them.
    settings: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY"}
    if cores.streams:
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": cores.streams}
    if cores.threads:
        settings["INFERENCE_NUM_THREADS"] = cores.threads
    settings["INFERENCE_PRECISION_HINT"] = _PRECISIONS[precision]
    return core.compile_model(core.read_model(model.SerializeToString(), b""), "CPU", settings)


def _info(compiled: ov.CompiledModel, requested: str) -> EngineInfo:
    hint = str(compiled.get_property("INFERENCE_PRECISION_HINT"))
    precision = "bf16" if "bf" in hint else "fp16" if "16" in hint else "fp32"
    precision = requested if requested == "int8" else precision
    return EngineInfo("openvino", ov.__version__.split("-")[0], "CPU", "cpu", precision)
