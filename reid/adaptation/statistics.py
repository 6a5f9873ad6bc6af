"""Tier 1: BatchNorm statistics of each camera's own crops, mixed with the source's. No torch.

Each BN layer normalises a batch by the batch's own mean and variance, as in training, and these are
averaged over the batches (AdaBN; per camera as in "Camera-based batch normalization", CBN, ECCV 2020). The
bundle's graph is rewritten so that onnxruntime does it: no torch has to be loaded, and a profile is there
after about the time that embedding the crops takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from reid.adaptation.outputs import Outputs
from reid.adaptation.people import person_weights
from reid.adaptation.sampling import FEWEST_OF_CAMERA, rows_by_camera
from reid.batchnorm import batchnorm_layers_of, write_into_onnx
from reid.engines.chooser import require_installed
from reid.profile import Profile, Table, mix_tables

PRIOR = 64  # people that the source counts as, in a table; see docs/adaptation.md
SHARE = 0.3  # of that way: the rest gains nothing and is what harms; chosen by `python -m benchmarks.shares`
BATCH = 64  # crops that share one mean and variance

Progress = Callable[[float], None]  # the share that is done; what it raises stops the computation


class Statistics:
    """Computes the BN statistics of crops under a profile's affine values.

    Args:
        model: the bundle's graph with every tensor inside (`Bundle.onnx_model`); it is changed.
        profile: whose gamma and beta are used. threads: 0 for one a core.

    Raises EngineError where onnxruntime is not installed.
    """

    def __init__(self, model: ModelProto, profile: Profile, threads: int = 0) -> None:
        require_installed("onnxruntime")
        import onnxruntime as ort

        write_into_onnx(profile, model)
        self.layers = list(batchnorm_layers_of(model))
        self.source = profile.site
        _watch_statistics(model, profile.eps)
        options = ort.SessionOptions()
        options.enable_mem_pattern = False  # batch sizes vary
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        providers = ["CPUExecutionProvider"]
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=providers)

    def of(self, crops: np.ndarray, progress: Progress = lambda share: None) -> dict[str, np.ndarray]:
        """uint8 [N,H,W,3], N >= 2 -> a table with the crops' means and variances, and the profile's gamma and
        beta. Layers that the graph lacks, such as those of the heads, keep the profile's values."""
        if len(crops) < 2:
            raise ValueError(f"statistics need at least 2 crops, got {len(crops)}")
        sums: list[np.ndarray] = []
        batches = np.array_split(crops, -(-len(crops) // BATCH))
        for number, batch in enumerate(batches):
            progress(number / len(batches))
            values = self.session.run(None, {"crops": np.ascontiguousarray(batch)})
            sums = values if not sums else [a + b for a, b in zip(sums, values, strict=True)]
        means = [total / len(batches) for total in sums]
        table = {name: np.array(values, np.float32) for name, values in self.source.items()}
        for number, layer in enumerate(self.layers):
            table[layer][2], table[layer][3] = means[2 * number], means[2 * number + 1]
        return table


def fit_statistics(
    statistics: Statistics,
    source: Profile,
    crops: np.ndarray,
    cameras: Sequence[str | None],
    embedded: np.ndarray,
    prior: float = PRIOR,
    share: float = SHARE,
    progress: Progress = lambda share: None,
    outputs: Outputs | None = None,
) -> Profile:
    """`source` with a table for each camera of at least FEWEST_OF_CAMERA crops: that camera's statistics,
    mixed with the source's by share * p / (p + prior), where p is how many different people the crops show.

    The site's table, for cameras without their own and for queries without a camera, is the mean of the
    cameras' tables, or of all crops where no camera has enough.

    Args:
        statistics: made with `source`. crops: uint8 [N,H,W,3]. cameras: of each crop.
        embedded: float32 [N,D], unit length, the crops with the bundle's own values, which tell people apart.
        outputs: hears of every table that is fitted.
    """
    done = 0
    tables: dict[str, Table] = {}

    def table(rows: np.ndarray, camera: str | None = None) -> Table:
        """Of some crops; `progress` hears how many of all are done."""
        fitted = statistics.of(crops[rows], lambda part: progress((done + part * len(rows)) / len(crops)))
        people = person_weights(embedded[rows]).sum()
        mixed = mix_tables(fitted, source.site, share * people / (people + prior))
        if outputs is not None:
            outputs.add(camera, len(rows), fitted, mixed)
        return mixed

    for camera, rows in rows_by_camera(cameras).items():
        if camera is not None and len(rows) >= FEWEST_OF_CAMERA:
            tables[camera] = table(rows, camera)
        done += len(rows)
    if tables:
        return Profile(source.base, mean_table(list(tables.values())), tables, source.eps)
    done = 0
    return Profile(source.base, table(np.arange(len(crops))), {}, source.eps)


def mean_table(tables: Sequence[Table]) -> dict[str, np.ndarray]:
    """The mean of tables; a variance is that of the mixture of their populations, in equal parts."""
    mean = {}
    for name in tables[0]:
        stack = np.stack([table[name] for table in tables]).astype(np.float64)  # [T,4,C]
        values = stack.mean(0)
        values[3] += stack[:, 2].var(0)
        mean[name] = values.astype(np.float32)
    return mean


def _watch_statistics(model: ModelProto, eps: float) -> None:
    """Every BN node of the graph normalises by its batch; the graph's outputs become, layer by layer, the
    mean [C] and the unbiased variance [C] (torch's running statistics take the unbiased one)."""
    layers = batchnorm_layers_of(model)
    graph = model.graph
    channels = {i.name: i.dims[0] for i in graph.initializer}
    graph.initializer.append(numpy_helper.from_array(np.float32(eps), "statistics.eps"))
    graph.initializer.append(numpy_helper.from_array(np.float32(1), "statistics.one"))
    graph.initializer.append(numpy_helper.from_array(np.array([0, 2], np.int64), "statistics.axes"))
    nodes, outputs = [], []
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        gamma, beta = node.input[1:3]
        layer = gamma.removesuffix(".weight")
        count = channels[gamma]
        graph.initializer.append(numpy_helper.from_array(np.array([0, count, -1], np.int64), f"{layer}/flat"))
        graph.initializer.append(numpy_helper.from_array(np.float32(count), f"{layer}/channels"))
        graph.initializer.append(numpy_helper.from_array(np.array([1, count, 1], np.int64), f"{layer}/row"))
        nodes += _normalise_by_batch(layer, node.input[0], node.output[0], gamma, beta)
        outputs += [f"{layer}/mean", f"{layer}/variance"]
    assert len(outputs) == 2 * len(layers)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in outputs)


def _normalise_by_batch(layer: str, source: str, result: str, gamma: str, beta: str) -> list[object]:
    """The nodes that replace one BN node; [B,C,H,W] and [B,C] alike are seen as [B,C,HW]."""

    def name(part: str) -> str:
        return f"{layer}/{part}"

    def make(kind: str, inputs: list[str], output: str, **attributes: object) -> object:
        return helper.make_node(kind, inputs, [output], **attributes)

    return [
        make("Shape", [source], name("shape")),
        make("Reshape", [source, name("flat")], name("x")),
        make("ReduceMean", [name("x"), "statistics.axes"], name("m"), keepdims=1),
        make("Sub", [name("x"), name("m")], name("moved")),
        make("Mul", [name("moved"), name("moved")], name("squared")),
        make("ReduceMean", [name("squared"), "statistics.axes"], name("v"), keepdims=1),
        make("Add", [name("v"), "statistics.eps"], name("v_eps")),
        make("Sqrt", [name("v_eps")], name("deviation")),
        make("Reshape", [gamma, name("row")], name("gamma")),
        make("Reshape", [beta, name("row")], name("beta")),
        make("Div", [name("gamma"), name("deviation")], name("scale")),
        make("Mul", [name("moved"), name("scale")], name("scaled")),
        make("Add", [name("scaled"), name("beta")], name("y")),
        make("Reshape", [name("y"), name("shape")], result),
        # n / (n - 1) of the n values that a channel has in the batch
        make("Size", [source], name("size")),
        make("Cast", [name("size")], name("size_float"), to=TensorProto.FLOAT),
        make("Div", [name("size_float"), name("channels")], name("n")),
        make("Sub", [name("n"), "statistics.one"], name("n_less_1")),
        make("Div", [name("n"), name("n_less_1")], name("unbiased")),
        make("Squeeze", [name("m")], name("mean")),
        make("Squeeze", [name("v")], name("v_flat")),
        make("Mul", [name("v_flat"), name("unbiased")], name("variance")),
    ]
