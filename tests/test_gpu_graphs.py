"""The graphs that GPUs get, run on the CPU: what reads the crops first, and what is in half precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.graph import to_onnx
from reid.bundle import Bundle, cosine
from reid.engines.agreement import FLOORS, probe_crops
from reid.engines.half import half_graph
from reid.engines.onnx_runtime import OnnxRuntimeEngine
from reid.engines.rows import pack, rows_graph, rows_layers
from reid.graph_input import cast_first
from reid.models.build import build
from reid.models.spec import ModelSpec
from tests.tiny import make_tiny_bundle

SHIPPED = sorted(Path(__file__).parent.parent.glob("deploy/*/*.resight"))


def run(model: ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """float32 [B,D] of onnxruntime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    graph = model.SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def readers(model: ModelProto) -> set[str]:
    """Operators that read the crops."""
    return {node.op_type for node in model.graph.node if "crops" in node.input}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_cast_is_the_first_to_read_the_crops_of_a_shipped_bundle(path: Path) -> None:
    assert readers(Bundle.load(path).onnx_model()) == {"Cast"}


def test_an_exported_graph_transposes_floats() -> None:
    model = to_onnx(build(ModelSpec("resnet18", 96, 48)).eval())
    assert "Transpose" not in readers(model)
    cast_first(model)
    assert readers(model) == {"Cast"}
    crops = probe_crops(96, 48, 3)
    assert np.isfinite(run(model, {"crops": crops})).all()


@pytest.mark.parametrize(
    "operators", [["Transpose", "Cast"], ["Cast", "Transpose"], ["Transpose", "Max", "Cast"]]
)
def test_only_bytes_that_are_moved_are_converted_earlier(operators: list[str]) -> None:
    model = chain(operators)
    crops = np.random.default_rng(0).integers(0, 256, (2, 4, 3, 3), np.uint8)
    before = run(model, {"crops": crops})
    cast_first(model)
    assert (readers(model) == {"Cast"}) == ("Max" not in operators)
    assert np.array_equal(run(model, {"crops": crops}), before)


def chain(operators: list[str]) -> ModelProto:
    """uint8 [B,4,3,3] -> float32 [B,3,4,3], by these operators one after the other."""
    nodes, name = [], "crops"
    for place, operator in enumerate(operators):
        output = "embeddings" if place == len(operators) - 1 else f"step{place}"
        attributes = {"Transpose": {"perm": [0, 3, 1, 2]}, "Cast": {"to": TensorProto.FLOAT}}.get(
            operator, {}
        )
        nodes.append(helper.make_node(operator, [name], [output], **attributes))
        name = output
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", 4, 3, 3])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", 3, 4, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_half_precision_is_near_enough_and_ends_before_the_pool(bundle: Bundle) -> None:
    model = half_graph(bundle.onnx_model())
    halves = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions and all(set(node.input[1:]) <= halves for node in convolutions)
    others = {n.op_type for n in model.graph.node if n.op_type != "Conv" and halves & set(n.input)}
    assert others <= {"Add", "Mul"}
    pooled = [node for node in model.graph.node if "Pool" in node.op_type or "Reduce" in node.op_type]
    assert all(node.input[0].endswith("/float") for node in pooled if node.op_type == "ReduceMean")
    crops = probe_crops(*bundle.size, 8)
    expected = OnnxRuntimeEngine(bundle).embed(crops)
    embeddings = run(model, {"crops": crops})
    assert embeddings.dtype == np.float32
    assert cosine(embeddings, expected).min() >= FLOORS["fp16"]
    assert not np.array_equal(embeddings, expected)


def test_the_graph_of_all_profiles_has_a_half_too(bundle: Bundle) -> None:
    model = bundle.onnx_model()
    profile, crops = bundle.profile(), probe_crops(*bundle.size, 4)
    tables = pack(profile, rows_layers(model))[None]
    inputs = {"crops": crops, "rows": np.zeros(4, np.int32), "tables": tables}
    expected = OnnxRuntimeEngine(bundle).embed(crops)
    assert cosine(run(half_graph(rows_graph(model)), inputs), expected).min() >= FLOORS["fp16"]


def test_a_tiny_variance_is_folded_before_it_is_rounded(bundle: Bundle) -> None:
    """As a half it would be zero."""
    model = bundle.onnx_model()
    for tensor in model.graph.initializer:
        if tensor.name.endswith("bn1.running_var"):
            values = np.full(tensor.dims, 1e-9, np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            break
    crops = probe_crops(*bundle.size, 4)
    assert cosine(run(half_graph(model), {"crops": crops}), run(model, {"crops": crops})).min() > 0.99


def test_a_network_without_convolutions_stays_in_float32(tmp_path: Path) -> None:
    model = half_graph(make_tiny_bundle(tmp_path).onnx_model())
    assert all(tensor.data_type == TensorProto.FLOAT for tensor in model.graph.initializer)


def test_torch_normalises_pixels_as_before() -> None:
    from reid.models.build import PixelEmbedder

    pixels = PixelEmbedder(build(ModelSpec("resnet18", 96, 48)))
    crops = torch.from_numpy(probe_crops(96, 48, 2))
    wanted = (crops.permute(0, 3, 1, 2).float() - pixels.pixel_mean) * pixels.pixel_scale
    assert torch.equal(pixels.normalise(crops), wanted)
