"""The parity gate: every installed engine is compared with torch, or with a foreign network's own runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from reid.batches import in_batches
from reid.bundle import Bundle, cosine
from reid.engines.protocol import Engine

BATCHES = (1, 2, 7, 32)
FLOORS = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999}


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


def probe_crops(height: int, width: int, count: int, seed: int = 0) -> np.ndarray:
    """uint8 [count,H,W,3]: smooth random images, closer to crops than white noise is."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 4, 3), np.uint8)
    from reid.images import resize

    fine = np.stack([resize(c, height, width) for c in coarse]).astype(np.int16)
    return np.clip(fine + rng.integers(-12, 13, fine.shape), 0, 255).astype(np.uint8)


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
    """Compares every installed CPU engine, OpenVINO in bf16 first and in fp32 where bf16 does not pass.

    Args:
        expected: float32 [N,D], the network's own embeddings of the crops, uint8 [N,H,W,3].

    Raises ParityError when an engine fails in fp32: then the graph is wrong, not the precision.
    """
    from reid.engines.chooser import installed_engines

    results = []
    for name in installed_engines("cpu"):
        if name == "torch" and not bundle.manifest.model:
            continue  # torch has no such network
        for engine in _variants(name, bundle):
            parity = compare(name, engine, expected, crops)
            if parity.passed:
                results.append(parity)
                break
            if parity.precision == "fp32":
                raise ParityError(
                    f"{name}: cosine {parity.min_cosine:.6f} to the network itself, needed "
                    f"{FLOORS['fp32']}; the export is wrong"
                )
    return results


def _variants(name: str, bundle: Bundle) -> Iterator[Engine]:
    """An engine in each precision to try; the next one is compiled only when the one before did not pass."""
    if name == "openvino":
        from reid.engines.open_vino import OpenVinoEngine

        yield OpenVinoEngine(bundle, precision="bf16")
        yield OpenVinoEngine(bundle, precision="fp32")
    elif name == "onnxruntime":
        from reid.engines.onnx_runtime import OnnxRuntimeEngine

        yield OnnxRuntimeEngine(bundle)
    else:
        from reid.engines.pytorch import TorchEngine

        yield TorchEngine(bundle)
