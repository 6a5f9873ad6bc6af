"""What a compiled engine holds in memory, and giving back what compiling one has used meanwhile."""

from __future__ import annotations

import ctypes
import sys

from reid.bundle import Bundle
from reid.engines import EngineInfo

# Measured as the growth of resident memory by one more engine, for ResNet-18 and ResNet-50 at 128x64 and
# 256x128 pixels; the estimate lies within 10 % of it.
_WEIGHTS = {"openvino": 1.4, "onnxruntime": 1.8, "torch": 1.0}  # times the weights in single precision
_BYTES_A_PIXEL = 110  # of the largest batch: feature maps, which torch does not keep


def engine_bytes(bundle: Bundle, info: EngineInfo, batch: int) -> int:
    """An estimate of the memory that one engine of a bundle holds.

    Args:
        batch: crops in the largest batch that it gets.
    """
    weights = sum(4 * array.size for array in bundle.weights().values())
    pixels = batch * bundle.manifest.height * bundle.manifest.width
    maps = 0 if info.engine == "torch" else _BYTES_A_PIXEL * pixels
    return int(_WEIGHTS[info.engine] * weights) + maps


def give_back_freed_memory() -> None:
    """Returns freed memory to the system, where the C library is glibc: it keeps what the compilation of an
    engine or a job has freed, twice the weights and more, for allocations that never come."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
