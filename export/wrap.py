"""A foreign network as a bundle: preprocessing before it, unit length behind it; its answers are the gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.openvino_ir import read_ir
from export.parity import Parity, run_gate
from export.preprocessing import Preprocessing
from export.replace import check_replaceable, replacing
from reid.bundle import Bundle, BundleError, EngineParity, Manifest, write_bundle, write_manifest, write_probe
from reid.engines.agreement import PROBE_CROPS, probe_crops
from reid.profile import KEYS

PROBES, EPSILON, OPSET = 32, 1e-5, 18
_NET = "net/"  # before the names of the foreign graph


class Foreign:
    """A foreign network: one float32 image batch [B,3,H,W] in, one vector for each image out.

    Args:
        path: an .onnx file, or an OpenVINO .xml with its .bin.
        size: height and width, where the network leaves them open.

    Raises BundleError for anything else.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None = None) -> None:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise BundleError(f"{path} {what}; give an .onnx file or an OpenVINO .xml")
        self.path = path
        self.graph = read_ir(path) if path.suffix == ".xml" else _read_onnx(path)
        self.size = self._checked_size(size)
        self.run = _runner(path, self.graph)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """float32 [B,3,H,W] -> float32 [B,D]: the network's own answers in its own runtime, one by one."""
        rows = [self.run(images[place : place + 1]).reshape(1, -1) for place in range(len(images))]
        return np.concatenate(rows)

    def _checked_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        shape = [d.dim_value for d in self.graph.graph.input[0].type.tensor_type.shape.dim]
        if len(shape) != 4 or shape[1] not in (0, 3):
            raise BundleError(f"{self.path} takes {shape}; a wrap needs images [N,3,H,W]")
        fixed = (shape[2], shape[3]) if shape[2] and shape[3] else None
        if fixed is None and size is None:
            raise BundleError(
                f"{self.path} leaves the size of its images open; give it with --size HEIGHTxWIDTH"
            )
        if fixed and size and fixed != size:
            raise BundleError(f"{self.path} takes images of {fixed[0]}x{fixed[1]}, not {size[0]}x{size[1]}")
        chosen = fixed or size
        assert chosen is not None
        return chosen


def wrap_network(
    foreign: Foreign, how: Preprocessing, out: Path, name: str, licence: str, force: bool = False
) -> tuple[Bundle, list[Parity]]:
    """Writes `out` (a `.resight` directory) and compares every installed engine with the network itself.

    Tier 0 of adaptation works for every such bundle; tier 1 where the graph still has its BatchNorm nodes.
    Raises ParityError where an engine answers differently, and BundleError for a network that cannot be
    wrapped or where `out` is anything else than free or a bundle.
    """
    check_replaceable(out, force)
    height, width = foreign.size
    crops = probe_crops(height, width, PROBES)
    expected = foreign.embed(how(crops))
    graph = _around(foreign, how, expected.shape[1])
    weights = _weights(graph)
    manifest = Manifest(
        name=name,
        architecture=f"foreign: {foreign.path.name}",
        model={},
        height=height,
        width=width,
        dim=expected.shape[1],
        ssl_heads=False,
        training_domains=[],
        recipe={"wrapped": foreign.path.name, "preprocessing": str(how)},
        weights_licence=licence,
    )
    with replacing(out, force) as staging:
        bundle = write_bundle(staging, manifest, graph, weights)
        results = run_gate(bundle, expected, crops)
        engines = {
            parity.engine: EngineParity.model_validate(
                {"precision": parity.precision, "min_cosine": parity.min_cosine}
            )
            for parity in results
        }
        bundle = write_probe(bundle, foreign.embed(how(probe_crops(height, width, PROBE_CROPS))))
        write_manifest(bundle, bundle.manifest.model_copy(update={"engines": engines}))
    return Bundle.load(out), results


def _read_onnx(path: Path) -> onnx.ModelProto:
    """An ONNX file at our opset, with any batch. Raises BundleError for one that is none."""
    try:
        model = onnx.load(path)
        if next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) < OPSET:
            model = onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # protobuf's, onnx's and the converter's own, without a base in common
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BundleError(f"{path} cannot be read as ONNX: {lines[0][:200]}") from error
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    given = [value for value in graph.input if value.name not in constants]
    if len(given) != 1 or given[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise BundleError(f"{path} takes {len(given)} inputs; a wrap needs one, of float32 images [N,3,H,W]")
    del graph.input[:]
    graph.input.extend(given)
    _hoist_constants(graph)
    _free_batch(graph)
    return model


def _hoist_constants(graph: onnx.GraphProto) -> None:
    """Constant nodes as initializers, which a bundle keeps among its weights."""
    rest = []
    for node in graph.node:
        value = node.attribute[0] if node.op_type == "Constant" else None
        if value is not None and value.name == "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value.t)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        else:
            rest.append(node)
    del graph.node[:]
    graph.node.extend(rest)


def _free_batch(graph: onnx.GraphProto) -> None:
    """Any batch instead of a fixed one: also in shapes that begin with 1, which mean one image."""
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    if batch.dim_value == 1:
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Reshape" and node.input[1] in tensors and node.input[0] not in tensors:
                shape = numpy_helper.to_array(tensors[node.input[1]]).copy()
                if len(shape) > 1 and shape[0] == 1:
                    shape[0] = 0  # as it is
                    tensors[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))
    batch.dim_param = "batch"
    del graph.value_info[:]


def _around(foreign: Foreign, how: Preprocessing, dim: int) -> onnx.ModelProto:
    """uint8 `crops` [B,H,W,3] -> float32 `embeddings` [B,D], unit length, with the network in between."""
    model = onnx.compose.add_prefix(foreign.graph, _NET)
    inner = model.graph
    before = [
        helper.make_node("Cast", ["crops"], ["crops/floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["crops/floats"], ["crops/channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["crops/channels", "crops/mean"], ["crops/moved"]),
        helper.make_node("Mul", ["crops/moved", "crops/scale"], ["crops/scaled"]),
        helper.make_node("Gather", ["crops/scaled", "crops/order"], [inner.input[0].name], axis=1),
    ]
    order = [2, 1, 0] if how.order == "bgr" else [0, 1, 2]
    constants = {
        "crops/mean": np.array(how.mean, np.float32).reshape(1, 3, 1, 1),
        "crops/scale": (1 / np.array(how.std, np.float32)).reshape(1, 3, 1, 1),
        "crops/order": np.array(order, np.int64),
    }
    behind = [
        helper.make_node("Flatten", [inner.output[0].name], ["embeddings/flat"], axis=1),
        helper.make_node("LpNormalization", ["embeddings/flat"], ["embeddings"], axis=1, p=2),
    ]
    height, width = foreign.size
    graph = helper.make_graph(
        [*before, *inner.node, *behind],
        foreign.path.stem,
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", height, width, 3])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", dim])],
        [*inner.initializer, *(numpy_helper.from_array(v, name) for name, v in constants.items())],
    )
    result = helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)
    _name_batchnorms(result)
    return result


def _name_batchnorms(model: onnx.ModelProto) -> None:
    """Gives the values of each BatchNorm node names and the epsilon that a profile expects of them."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for number, node in enumerate(n for n in model.graph.node if n.op_type == "BatchNormalization"):
        if any(name not in tensors for name in node.input[1:5]):
            raise BundleError(f"BatchNormalization {node.name!r} computes its values; it cannot be wrapped")
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        values = [numpy_helper.to_array(tensors[name]).astype(np.float32) for name in node.input[1:5]]
        values[3] = np.maximum(values[3] + (epsilon - EPSILON), 0)
        for place, (key, value) in enumerate(zip(KEYS, values, strict=True), 1):
            name = f"bn{number}.{key}"
            model.graph.initializer.append(numpy_helper.from_array(value, name))
            node.input[place] = name
        kept = [attribute for attribute in node.attribute if attribute.name != "epsilon"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("epsilon", EPSILON)])
    read = {name for node in model.graph.node for name in node.input}
    unread = [tensor for tensor in model.graph.initializer if tensor.name not in read]
    for tensor in unread:
        model.graph.initializer.remove(tensor)


def _weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Every float32 tensor of the graph that is no single number."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims)
    }


def _runner(path: Path, model: onnx.ModelProto) -> Callable[[np.ndarray], np.ndarray]:
    """The network in its own runtime, one image at a time."""
    if path.suffix == ".xml":
        import openvino

        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda image: np.asarray(compiled(image)[0])
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = model.graph.input[0].name
    return lambda image: np.asarray(session.run(None, {name: image})[0])
