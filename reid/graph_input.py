"""Makes a graph read its crops as TensorRT can: a Cast is the first to see them.

TensorRT takes uint8 as an input only and computes nothing with it, while exporters put the transposition
before the conversion. To move bytes and then convert them gives the same numbers as the other way round.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto, helper

_MOVING = {"Transpose", "Slice", "Gather", "Split", "Concat", "Reshape", "Squeeze", "Unsqueeze", "Identity"}
_FLOATS = "crops/floats"


def cast_first(model: ModelProto) -> None:
    """Converts the crops to float32 before anything else reads them, in place.

    A graph that computes with the bytes themselves, as a quantised one does, stays as it is.
    """
    graph = model.graph
    crops = graph.input[0]
    if crops.type.tensor_type.elem_type != TensorProto.UINT8 or _is_cast_first(model):
        return
    bytes_still = {crops.name}
    for node in graph.node:
        if not bytes_still & set(node.input):
            continue
        if node.op_type in _MOVING and _moves_bytes_only(node, bytes_still):
            bytes_still |= set(node.output)
        elif node.op_type not in ("Cast", "Shape"):
            return
    if bytes_still & {value.name for value in graph.output}:
        return
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == crops.name:
                node.input[place] = _FLOATS
    graph.node.insert(0, helper.make_node("Cast", [crops.name], [_FLOATS], to=TensorProto.FLOAT))
    stale = [value for value in graph.value_info if value.name in bytes_still]
    for value in stale:
        graph.value_info.remove(value)


def _is_cast_first(model: ModelProto) -> bool:
    crops = model.graph.input[0].name
    return all(node.op_type == "Cast" for node in model.graph.node if crops in node.input)


def _moves_bytes_only(node: NodeProto, bytes_still: set[str]) -> bool:
    """Whether what it moves are crops: places come second, and only Concat joins several values."""
    moved = node.input if node.op_type == "Concat" else node.input[:1]
    return set(moved) <= bytes_still
