"""The graph in half precision for GPUs: convolutions and what follows them directly, and nothing else.

Pixels are normalised, pooled, put through the neck and brought to unit length in float32. BatchNorm is folded
in float32 before anything is rounded: a variance may be smaller than the smallest half.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from reid.engines.folding import drop_unread, fold_batchnorm, values_of

_BESIDE_CONVOLUTIONS = {
    "Relu",
    "LeakyRelu",
    "Clip",
    "Add",
    "Mul",
    "MaxPool",
    "Concat",
    "Sigmoid",
    "HardSwish",
}
_HALF, _FLOAT = "/half", "/float"


def half_graph(model: ModelProto) -> ModelProto:
    """A copy that computes its convolutions in half precision, with the same inputs and outputs."""
    result = ModelProto()
    result.CopyFrom(model)
    fold_batchnorm(result)
    graph = result.graph
    floats = _floats(result)
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    halves: set[str] = set()  # tensors that are halves already, by their names before
    known: set[str] = set()  # casts that are there
    nodes: list[NodeProto] = []
    for node in graph.node:
        in_half = node.op_type == "Conv" or (
            node.op_type in _BESIDE_CONVOLUTIONS and not halves.isdisjoint(node.input)
        )
        for place, name in enumerate(node.input):
            if in_half and name in floats and name not in halves:
                node.input[place] = _as_half(name, initializers, graph, known, nodes)
            elif not in_half and name in halves:
                node.input[place] = _cast(name, name + _FLOAT, TensorProto.FLOAT, known, nodes)
        nodes.append(node)
        if in_half:
            halves |= set(node.output)
    for value in graph.output:
        if value.name in halves:
            raise ValueError(f"the output {value.name} of the graph would be in half precision")
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    drop_unread(graph)
    return result


def _as_half(
    name: str,
    initializers: dict[str, TensorProto],
    graph: onnx.GraphProto,
    known: set[str],
    nodes: list[NodeProto],
) -> str:
    """The name of a tensor's half, which is made where it is new."""
    half = name + _HALF
    if name not in initializers:
        return _cast(name, half, TensorProto.FLOAT16, known, nodes)
    if half not in known:
        known.add(half)
        values = numpy_helper.to_array(initializers[name]).astype(np.float16)
        graph.initializer.append(numpy_helper.from_array(values, half))
    return half


def _cast(name: str, output: str, to: int, known: set[str], nodes: list[NodeProto]) -> str:
    if output not in known:
        known.add(output)
        nodes.append(helper.make_node("Cast", [name], [output], to=to))
    return output


def _floats(model: ModelProto) -> set[str]:
    """Names of all float32 tensors."""
    values = {v.name for v in values_of(model) if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return values | {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
