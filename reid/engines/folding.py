"""BatchNorm folded into the convolutions before it, for graphs whose weights are rounded afterwards."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference


def fold_batchnorm(model: ModelProto) -> None:
    """Puts every BatchNorm over maps into the convolution before it, or makes it a multiply-add, in place."""
    graph = model.graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values_of(model)}
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


def values_of(model: ModelProto) -> list[onnx.ValueInfoProto]:
    """Every tensor of a graph with its type and shape, as far as they can be told without running it."""
    inferred = shape_inference.infer_shapes(model).graph
    return [*inferred.value_info, *inferred.input, *inferred.output]


def drop_unread(graph: onnx.GraphProto) -> None:
    """Removes initializers that no node reads, in place."""
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
