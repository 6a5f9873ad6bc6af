"""The engines there are, by the names that people give them: the one list of them."""

from __future__ import annotations

from typing import Literal, NamedTuple

INT8 = "openvino-int8"


class Kind(NamedTuple):
    """What an engine is made of."""

    module: Literal["onnxruntime", "openvino", "torch"]  # the package that computes
    on_cpu: bool
    variant: str = ""  # of the package's ways to compute: a key of `providers.PROVIDERS`, a precision


# the one that is preferred comes first
KINDS = {
    "tensorrt": Kind("onnxruntime", False, "tensorrt"),
    "cuda": Kind("onnxruntime", False, "cuda"),
    INT8: Kind("openvino", True, "int8"),
    "openvino": Kind("openvino", True),
    "onnxruntime": Kind("onnxruntime", True, "cpu"),
    "torch": Kind("torch", True),
}
ENGINES = tuple(KINDS)
ON_CPU = tuple(name for name, kind in KINDS.items() if kind.on_cpu)
ON_GPU = tuple(name for name in KINDS if name not in ON_CPU)
# for the pages that say what --engine takes
CHOICES = f"auto, or one of {', '.join(ENGINES)}"
