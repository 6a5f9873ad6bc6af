"""What onnxruntime is told about a GPU: how much of its memory, which batches, where built engines lie."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from onnx import ModelProto, TensorProto

from reid.engines.fallbacks import Fallbacks

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# crops in a batch that one built engine serves: from, best at, to
MIN_BATCH, BEST_BATCH, MAX_BATCH = 1, 32, 128
GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class GpuOptions:
    """How a GPU is used.

    Args:
        cache: folder for engines that TensorRT has built, which takes minutes each; None builds anew.
        memory: bytes that one session may allocate there.
        fallbacks: where it is noted that something did not run as wished.
    """

    cache: Path | None = None
    memory: int = 4 * GIB
    fallbacks: Fallbacks = dataclasses.field(default_factory=Fallbacks, compare=False)


def provider_options(
    provider: str, model: ModelProto, name: str, precision: str, gpu: GpuOptions
) -> list[str | tuple[str, dict[str, str]]]:
    """Providers for a session, the wanted one first.

    Args:
        name: of what the graph computes, base and tables. TensorRT's own cache key knows no weights, so this
            and the precision are what keeps two profiles apart.
    """
    cuda = {
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "gpu_mem_limit": str(gpu.memory),
        "use_tf32": "0",
    }
    if provider == "cuda":
        return [(PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]
    if provider == "cpu":
        return [PROVIDERS["cpu"]]
    options = {
        # "1" would not do: these options take the words True and False only
        "trt_fp16_enable": str(precision == "fp16"),
        "trt_max_workspace_size": str(gpu.memory // 4),
        "trt_profile_min_shapes": _shapes(model, MIN_BATCH),
        "trt_profile_opt_shapes": _shapes(model, BEST_BATCH),
        "trt_profile_max_shapes": _shapes(model, MAX_BATCH),
    }
    if gpu.cache is not None:
        gpu.cache.mkdir(parents=True, exist_ok=True)
        options |= {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(gpu.cache),
            "trt_engine_cache_prefix": f"{name}-{precision}",
        }
    return [(PROVIDERS["tensorrt"], options), (PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]


def _shapes(model: ModelProto, batch: int) -> str:
    """Every input's shape with this many crops, as "crops:32x256x128x3,rows:32"; a batch has at most as many
    tables as crops."""
    shapes = []
    for value in model.graph.input:
        tensor = value.type.tensor_type
        assert tensor.elem_type != TensorProto.UNDEFINED
        sizes = [str(dim.dim_value or batch) for dim in tensor.shape.dim]
        shapes.append(f"{value.name}:{'x'.join(sizes)}")
    return ",".join(shapes)
