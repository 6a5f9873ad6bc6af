"""A bundle learns between which values its activations lie, so that a CPU may compute in eight-bit integers.

The ranges are the lowest and highest value of each activation over crops of people. Rounding moves single
embeddings by more than half precision does (cosine 0.99 instead of 0.999), which says little about their
order. So the ranking is what decides: mAP on a dataset's queries and gallery, in float32 and rounded.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper

from export.parity import ParityError
from reid.batches import Progress
from reid.bundle import Bundle, BundleError, Int8, Quantized, write_int8
from reid.engines.agreement import PROBE_CROPS, probe_crops
from reid.engines.folding import fold_batchnorm
from reid.engines.int8 import Ranges, int8_graph, rounded_tensors

MOST_LOST = 0.3  # mAP in percent
_BATCH = 8  # whose activations are in memory together
Rank = Callable[[Callable[[np.ndarray], np.ndarray]], float]  # what embeds crops -> mAP in percent


def quantize_bundle(
    bundle: Bundle,
    crops: np.ndarray,
    rank: Rank,
    calibrated_on: str,
    evaluated_on: str,
    queries: int,
    progress: Progress | None = None,
) -> Bundle:
    """Adds the ranges to a bundle, or replaces those that it has.

    Args:
        crops: uint8 [N,H,W,3], of people whom `rank` does not see.
        rank: mAP in percent of a function that embeds, uint8 [B,H,W,3] -> float32 unit [B,D].
        calibrated_on, evaluated_on, queries: of both, for the manifest.

    Raises BundleError where the network has nothing to round, and ParityError where the rounded network ranks
    worse by more than `MOST_LOST`; the bundle stays as it is then.
    """
    model = bundle.onnx_model()
    fold_batchnorm(model)
    if not rounded_tensors(model):
        raise BundleError(f"bundle {bundle.path} has no convolution after its first: nothing can be rounded")
    ranges = activation_ranges(model, crops, progress)
    rounded = embedder_of(int8_graph(model, ranges))
    in_float, in_integers = rank(embedder_of(model)), rank(rounded)
    if in_integers < in_float - MOST_LOST:
        raise ParityError(
            f"in int8 it ranks {evaluated_on} with {in_integers:.2f} % mAP instead of {in_float:.2f}, "
            f"and at most {MOST_LOST} may be lost; the bundle stays as it is. Take more crops, or crops that "
            "look more like those to be ranked"
        )
    measured = Quantized(
        calibrated_on=calibrated_on,
        crops=len(crops),
        evaluated_on=evaluated_on,
        queries=queries,
        map_fp32=round(in_float, 2),
        map_int8=round(in_integers, 2),
    )
    embeddings = rounded(probe_crops(*bundle.size, PROBE_CROPS))
    return write_int8(bundle, Int8(dict(ranges), embeddings), measured)


def activation_ranges(model: ModelProto, crops: np.ndarray, progress: Progress | None = None) -> Ranges:
    """The lowest and highest value of each tensor of `rounded_tensors` over crops, uint8 [N,H,W,3]."""
    names = rounded_tensors(model)
    watched = ModelProto()
    watched.CopyFrom(model)
    for name in names:
        watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = _session(watched, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    lowest, highest = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for start in range(0, len(crops), _BATCH):
        tensors = session.run(names, {"crops": crops[start : start + _BATCH]})
        for place, values in enumerate(tensors):
            lowest[place] = min(lowest[place], values.min())
            highest[place] = max(highest[place], values.max())
        if progress is not None:
            progress(min(start + _BATCH, len(crops)), len(crops))
    return {name: (float(low), float(high)) for name, low, high in zip(names, lowest, highest, strict=True)}


def embedder_of(model: ModelProto) -> Callable[[np.ndarray], np.ndarray]:
    """Computes a graph as it is written, rounding included, in float32: uint8 [B,H,W,3] -> float32 [B,D].

    Without optimisation onnxruntime uses none of its integer kernels, which differ from CPU to CPU.
    """
    session = _session(model, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)

    def embed(crops: np.ndarray) -> np.ndarray:
        embeddings: np.ndarray = session.run(None, {"crops": crops})[0]
        return embeddings

    return embed


def _session(model: ModelProto, optimisation: ort.GraphOptimizationLevel) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = optimisation
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
