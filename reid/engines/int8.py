"""The graph with its convolutions in eight-bit integers, for CPUs.

Each convolution but the first reads activations that were rounded to 256 steps between the lowest and the
highest value that they took on a set of crops, and weights that were rounded to 255 steps a channel. Pixels,
pooling, neck and unit length stay in float32: rounding them costs most and saves nothing. The rounding is
written as QuantizeLinear and DequantizeLinear, from which a runtime takes its integer kernels; one without
any computes the same values in float32.

Activations are told apart by their names, which folding BatchNorm and gathering it by row leave as they are.
So one set of ranges serves every BatchNorm table, folded (`fold_batchnorm`) or gathered (`rows_graph`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from reid.engines.folding import drop_unread, fold_batchnorm
from reid.engines.protocol import EngineError

Ranges = Mapping[str, tuple[float, float]]  # a tensor's name -> its lowest and highest value
# Operators that read a tensor rounded where a convolution reads it too. All others read it as it was.
_READERS = {"Conv", "Add", "Pad", "MaxPool"}


def rounded_tensors(model: ModelProto) -> list[str]:
    """Names of the tensors that `int8_graph` rounds: what convolutions with constant weights read, but for
    the first of them, which reads the pixels."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    names = [n.input[0] for n in model.graph.node if n.op_type == "Conv" and n.input[1] in initializers]
    return list(dict.fromkeys(name for name in names[1:] if name != names[0]))


def int8_graph(model: ModelProto, ranges: Ranges) -> ModelProto:
    """A copy that rounds what convolutions read and their weights, with the same inputs and outputs.

    Args:
        ranges: of every tensor of `rounded_tensors`.

    Raises EngineError for a graph with a tensor that the ranges lack.
    """
    result = ModelProto()
    result.CopyFrom(model)
    fold_batchnorm(result)
    graph = result.graph
    rounded = rounded_tensors(result)
    missing = [name for name in rounded if name not in ranges]
    if missing:
        raise EngineError(
            f"the graph was changed since it was quantized: ranges of {missing[:3]} are missing; run resight "
            "bundle quantize again"
        )
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers: list[NodeProto] = []  # of constants, which stand before all that reads them
    nodes: list[NodeProto] = []
    read_instead = {name: f"{name}/rounded" for name in rounded}
    known: set[str] = set()
    for node in graph.node:
        if node.op_type in _READERS:
            for place, name in enumerate(node.input):
                node.input[place] = read_instead.get(name, name)
        constant = node.op_type == "Conv" and node.input[1] in weights
        if constant and node.input[0].endswith("/rounded"):
            node.input[1] = _rounded_weight(node.input[1], weights, graph, known, makers)
        nodes.append(node)
        for name in node.output:
            if name in read_instead:
                nodes += _rounding(name, ranges[name], graph)
    del graph.node[:]
    graph.node.extend([*makers, *nodes])
    drop_unread(graph)
    return result


def _rounding(name: str, limits: tuple[float, float], graph: onnx.GraphProto) -> list[NodeProto]:
    """Nodes that round a tensor to uint8 and give it back as float32."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)  # so that zero, with which is padded, stays zero
    scale = (high - low) / 255 or 1.0
    constants = [f"{name}/scale", f"{name}/zero"]
    zero = np.clip(np.round(-low / scale), 0, 255).astype(np.uint8)
    for constant, value in zip(constants, (np.array(scale, np.float32), zero), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), constant))
    return [
        helper.make_node("QuantizeLinear", [name, *constants], [f"{name}/integers"]),
        helper.make_node("DequantizeLinear", [f"{name}/integers", *constants], [f"{name}/rounded"]),
    ]


def _rounded_weight(
    name: str,
    weights: Mapping[str, onnx.TensorProto],
    graph: onnx.GraphProto,
    known: set[str],
    makers: list[NodeProto],
) -> str:
    """The name of a weight [O,I,h,w] rounded to int8, each output channel with a scale of its own."""
    output = f"{name}/rounded"
    if output in known:
        return output
    known.add(output)
    values = numpy_helper.to_array(weights[name])
    scales = np.abs(values).reshape(len(values), -1).max(1).astype(np.float32) / 127
    scales[scales == 0] = 1  # a channel without weights
    integers = np.round(values / scales.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
    parts = (integers, scales, np.zeros(len(values), np.int8))
    constants = [f"{name}/{part}" for part in ("integers", "scales", "zeros")]
    for constant, array in zip(constants, parts, strict=True):
        graph.initializer.append(numpy_helper.from_array(array, constant))
    makers.append(helper.make_node("DequantizeLinear", constants, [output], axis=0))
    return output
