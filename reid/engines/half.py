"""The graph in half precision for GPUs: convolutions and what follows them directly, and nothing else.

Pixels are normalised, pooled, put through the neck and brought to unit length in float32. BatchNorm is folded
in float32 before anything is rounded: a variance may be smaller than the smallest half.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

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
    _fold(result)
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
    _drop_unread(graph)
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


def _fold(model: ModelProto) -> None:
    """Puts every BatchNorm over maps into the convolution before it, or makes it a multiply-add, in place."""
    graph = model.graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in _values(model)}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "BatchNormalization" or ranks.get(node.input[0]) != 4:
            nodes.append(node)
            continue
        scale, shift = _affine(node, tensors)
        before = makers.get(node.input[0])
        foldable = before is not None and before.op_type == "Conv" and before.input[1] in tensors
        if foldable and before is not None and readers[node.input[0]] == 1:
            _into(before, node.output[0], scale, shift, tensors, graph)
            continue
        names = [f"{node.output[0]}/scale", f"{node.output[0]}/shift"]
        for name, values in zip(names, (scale, shift), strict=True):
            graph.initializer.append(numpy_helper.from_array(values.reshape(1, -1, 1, 1), name))
        scaled = f"{node.output[0]}/scaled"
        nodes.append(helper.make_node("Mul", [node.input[0], names[0]], [scaled]))
        nodes.append(helper.make_node("Add", [scaled, names[1]], [node.output[0]]))
    del graph.node[:]
    graph.node.extend(nodes)


def _affine(node: NodeProto, tensors: dict[str, TensorProto]) -> tuple[np.ndarray, np.ndarray]:
    """float32 [C] each: what a BatchNorm multiplies with and adds."""
    gamma, beta, mean, variance = (
        numpy_helper.to_array(tensors[name]).astype(np.float64) for name in node.input[1:5]
    )
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)


def _into(
    convolution: NodeProto,
    output: str,
    scale: np.ndarray,
    shift: np.ndarray,
    tensors: dict[str, TensorProto],
    graph: onnx.GraphProto,
) -> None:
    weight = numpy_helper.to_array(tensors[convolution.input[1]])
    if len(convolution.input) > 2:
        shift = shift + scale * numpy_helper.to_array(tensors[convolution.input[2]])
    names = [f"{output}/weight", f"{output}/bias"]
    folded = weight * scale.reshape(-1, 1, 1, 1)
    for name, values in zip(names, (folded, shift), strict=True):
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    del convolution.input[1:]
    convolution.input.extend(names)
    convolution.output[0] = output


def _values(model: ModelProto) -> list[onnx.ValueInfoProto]:
    inferred = shape_inference.infer_shapes(model).graph
    return [*inferred.value_info, *inferred.input, *inferred.output]


def _floats(model: ModelProto) -> set[str]:
    """Names of all float32 tensors."""
    values = {v.name for v in _values(model) if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return values | {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}


def _drop_unread(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
