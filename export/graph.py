"""torch network -> ONNX graph that keeps every BatchNorm and names tensors by their module path."""

from __future__ import annotations

import warnings

import onnx
import torch

from reid.bundle import assert_batchnorm_count
from reid.models.build import Embedder, PixelEmbedder, batchnorm_layers

OPSET = 18
_PREFIX = "embedder."


def to_onnx(embedder: Embedder) -> onnx.ModelProto:
    """uint8 `crops` [B,H,W,3] -> float32 `embeddings` [B,D], with any B.

    torch's exporter folds BatchNorm into the convolutions unless `optimize=False`, and so does onnxscript's
    optimiser afterwards. The graph would otherwise give every convolution a bias of computed zeros, which
    keeps onnxruntime from folding the BatchNorm behind it (21 of 21 stayed, measured with 1.31.1); so these
    are removed here. Raises BundleError if a BN node is missing.
    """
    spec = embedder.spec
    example = torch.zeros(
        2, spec.height, spec.width, 3, dtype=torch.uint8
    )  # a batch of 1 would become a constant
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            PixelEmbedder(embedder).eval(),
            (example,),
            dynamo=True,
            optimize=False,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            input_names=["crops"],
            output_names=["embeddings"],
            opset_version=OPSET,
        )
    assert program is not None
    model = program.model_proto
    _tidy(model)
    _drop_zero_biases(model)
    deployed = [name for name in batchnorm_layers(embedder) if not name.startswith("heads.")]
    assert_batchnorm_count(model, len(deployed))
    onnx.checker.check_model(model)
    return model


def _drop_zero_biases(model: onnx.ModelProto) -> None:
    """Removes the computed zero biases of the convolutions, and the nodes that nothing reads afterwards."""
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] not in known:
            del node.input[2]
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _tidy(model: onnx.ModelProto) -> None:
    """Names tensors as the state dict does and removes the exporter's notes (stack traces and paths)."""
    renamed = {t.name: t.name.removeprefix(_PREFIX) for t in model.graph.initializer}
    for tensor in model.graph.initializer:
        tensor.name = renamed[tensor.name]
        del tensor.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    for value in [*model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
