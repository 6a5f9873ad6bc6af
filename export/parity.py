"""The parity gate: every installed engine is compared with torch, or with a foreign network's own runtime."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

import numpy as np

from reid.batches import in_batches
from reid.bundle import Bundle, cosine
from reid.engine_names import ON_GPU
from reid.engines.agreement import FLOORS
from reid.engines.protocol import Engine, EngineError

log = logging.getLogger("resight")
BATCHES = (1, 2, 7, 32)


class ParityError(RuntimeError):
    """An engine's embeddings differ from torch's by more than its precision allows."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """What was measured for one engine."""

    engine: str
    precision: str
    min_cosine: float

    @property
    def passed(self) -> bool:
        """Whether the smallest cosine reaches the floor of the precision."""
        return self.min_cosine >= FLOORS[self.precision]


def compare(name: str, engine: Engine, expected: np.ndarray, crops: np.ndarray) -> Parity:
    """Smallest cosine between an engine's embeddings and torch's, over all crops and batch sizes.

    An engine whose result for a crop depends on its batch shows as a low cosine.

    Args:
        expected: float32 [N,D], torch's embeddings of the crops, uint8 [N,H,W,3].

    Raises ParityError for embeddings that are not finite.
    """
    lowest = 1.0
    for batch in BATCHES:
        embeddings = in_batches(len(crops), lambda rows: engine.embed(crops[rows]), batch)
        if not np.isfinite(embeddings).all():
            raise ParityError(f"{name} returns values that are not finite at batch {batch}")
        lowest = min(lowest, float(cosine(embeddings, expected).min()))
    return Parity(name, engine.describe().precision, lowest)


def run_gate(bundle: Bundle, expected: np.ndarray, crops: np.ndarray) -> list[Parity]:
    """Compares every installed CPU engine, and CUDA and TensorRT where there is a GPU; OpenVINO in bf16
    and the GPU in fp16 first, each in fp32 where that does not pass.

    Args:
        expected: float32 [N,D], the network's own embeddings of the crops, uint8 [N,H,W,3].

    Raises ParityError when an engine fails in fp32: then the graph is wrong, not the precision.
    """
    from reid.engines.chooser import gpu_present, installed_engines

    gpus = ON_GPU if gpu_present() else ()
    results = []
    for name in [*gpus, *installed_engines("cpu")]:
        if name == "torch" and not bundle.manifest.model:
            continue  # torch has no such network
        parity = _first_that_passes(name, bundle, expected, crops)
        if parity is not None:
            results.append(parity)
    return results


def _first_that_passes(name: str, bundle: Bundle, expected: np.ndarray, crops: np.ndarray) -> Parity | None:
    """None where a GPU is there and this engine cannot use it, which is logged."""
    try:
        for engine in _variants(name, bundle):
            parity = compare(name, engine, expected, crops)
            if parity.passed:
                return parity
            if parity.precision == "fp32":
                raise ParityError(
                    f"{name}: cosine {parity.min_cosine:.6f} to the network itself, needed "
                    f"{FLOORS['fp32']}; the export is wrong"
                )
    except EngineError as error:
        if name not in ON_GPU:
            raise
        log.warning("engine %s is not compared: %s", name, error)
    return None


def _variants(name: str, bundle: Bundle) -> Iterator[Engine]:
    """An engine in each precision to try; the next one is compiled only when the one before did not pass."""
    if name == "openvino":
        from reid.engines.open_vino import OpenVinoEngine

        yield OpenVinoEngine(bundle, precision="bf16")
        yield OpenVinoEngine(bundle, precision="fp32")
    elif name == "torch":
        from reid.engines.pytorch import TorchEngine

        yield TorchEngine(bundle)
    else:
        from reid.engines.onnx_runtime import OnnxRuntimeEngine

        if name == "onnxruntime":
            yield OnnxRuntimeEngine(bundle)
            return
        yield OnnxRuntimeEngine(bundle, provider=name, precision="fp16")
        yield OnnxRuntimeEngine(bundle, provider=name)
