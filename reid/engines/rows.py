"""One graph for every BatchNorm table: scale and shift of a crop's table come in beside the crop.

A folded engine computes with one table, which its runtime multiplied into the weights when it was compiled.
Here each BatchNormalization is a multiply-add whose factors are gathered by crop, so that a batch may mix the
tables of many cameras and sites, and a new table needs no compiling.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

from reid.batchnorm import batchnorm_layers_of
from reid.profile import Profile, ProfileError, scale_and_shift

ROWS, TABLES = "rows", "tables"  # inputs of the graph beside its crops
_SCALE, _SHIFT = "rows/scale", "rows/shift"


def rows_graph(model: ModelProto) -> ModelProto:
    """The model with two more inputs: `rows` int32 [B], the table of each crop, and `tables` float32 [T,2,C],
    the scale and shift of every channel of every BatchNorm layer in the graph's order (see `pack`).

    Raises ProfileError for a graph without BatchNorm.
    """
    widths = _widths(model)
    if not widths:
        raise ProfileError("the graph has no BatchNorm left: its exporter folded it; export it again")
    ranks = _ranks(model)
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    nodes = _gathering(list(widths.items()), graph)
    unread = {name for names in batchnorm_layers_of(model).values() for name in names}
    for node in model.graph.node:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            unread -= set(node.input)
            continue
        layer, features = node.input[1].removesuffix(".weight"), node.input[0]
        scale, shift = f"{layer}/scale", f"{layer}/shift"
        if ranks.get(features) != 4:
            nodes += _as_wide(features, scale, shift)
            scale, shift = f"{scale}/shaped", f"{shift}/shaped"
        nodes.append(helper.make_node("Mul", [features, scale], [f"{layer}/scaled"]))
        nodes.append(helper.make_node("Add", [f"{layer}/scaled", shift], [node.output[0]]))
    del graph.node[:]
    graph.node.extend(nodes)
    kept = [tensor for tensor in graph.initializer if tensor.name not in unread]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    graph.input.append(helper.make_tensor_value_info(ROWS, TensorProto.INT32, [batch]))
    channels = sum(widths.values())
    graph.input.append(helper.make_tensor_value_info(TABLES, TensorProto.FLOAT, ["tables", 2, channels]))
    return result


def rows_layers(model: ModelProto) -> tuple[str, ...]:
    """The BatchNorm layers of a graph in the order in which `pack` joins them."""
    return tuple(_widths(model))


def rows_channels(model: ModelProto) -> int:
    """Channels of all these layers together: C of `pack`."""
    return sum(_widths(model).values())


def pack(profile: Profile, layers: Sequence[str], camera: str | None = None) -> np.ndarray:
    """float32 [2,C]: scale and shift of a camera's table, layers joined in this order.

    Raises ProfileError for a profile that lacks one of the layers.
    """
    table = profile.table(camera)
    missing = [layer for layer in layers if layer not in table]
    if missing:
        raise ProfileError(f"profile {profile.id} was made for another model: it lacks {missing[:3]}")
    values = np.concatenate([table[layer] for layer in layers], axis=1)  # [4,C]
    return np.stack(scale_and_shift(values, profile.eps)).astype(np.float32, copy=False)


def _gathering(widths: list[tuple[str, int]], graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that make float32 [B,C,1,1], a scale and a shift of each layer, out of the two inputs."""
    constants = {
        "rows/ones": np.array([1, 1], np.int64),
        "rows/widths": np.array([width for _, width in widths], np.int64),
        "rows/shape": np.array([0, -1, 1, 1], np.int64),
        "rows/kept": np.array([0, 0], np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    nodes = [
        helper.make_node("Gather", [TABLES, ROWS], ["rows/picked"], axis=0),  # [B,2,C]
        helper.make_node("Split", ["rows/picked", "rows/ones"], [_SCALE, _SHIFT], axis=1),  # [B,1,C] each
    ]
    for name, kind in ((_SCALE, "scale"), (_SHIFT, "shift")):
        transposed = f"{name}/channels"
        nodes.append(helper.make_node("Transpose", [name], [transposed], perm=[0, 2, 1]))  # [B,C,1]
        nodes.append(helper.make_node("Reshape", [transposed, "rows/shape"], [f"{name}/maps"]))  # [B,C,1,1]
        outputs = [f"{layer}/{kind}" for layer, _ in widths]
        nodes.append(helper.make_node("Split", [f"{name}/maps", "rows/widths"], outputs, axis=1))
    return nodes


def _as_wide(features: str, scale: str, shift: str) -> list[onnx.NodeProto]:
    """Nodes that shape [B,C,1,1] into [B,C] and as many ones as the features have further dimensions, which
    only the runtime may know."""
    ones = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    sizes, further, shape = f"{scale}/sizes", f"{scale}/further", f"{scale}/shape"
    return [
        helper.make_node("Shape", [features], [sizes], start=2),
        helper.make_node("Shape", [sizes], [f"{sizes}/count"]),
        helper.make_node("ConstantOfShape", [f"{sizes}/count"], [further], value=ones),
        helper.make_node("Concat", ["rows/kept", further], [shape], axis=0),
        *(helper.make_node("Reshape", [name, shape], [f"{name}/shaped"]) for name in (scale, shift)),
    ]


def _widths(model: ModelProto) -> dict[str, int]:
    """Channels of every BatchNorm layer, in the graph's order."""
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    return {layer: initializers[names[0]].dims[0] for layer, names in batchnorm_layers_of(model).items()}


def _ranks(model: ModelProto) -> dict[str, int]:
    inferred = shape_inference.infer_shapes(model).graph
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
