"""int8 on a CPU: what is rounded, that the ranking decides, and when a server takes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.parity import ParityError
from export.quantize import activation_ranges, embedder_of, quantize_bundle
from reid.bundle import (
    INT8,
    MANIFEST,
    PROBE,
    Bundle,
    BundleError,
    Int8,
    Quantized,
    cosine,
    write_int8,
    write_manifest,
    write_probe,
)
from reid.embedding import load
from reid.engine_names import INT8 as OPENVINO_INT8
from reid.engines import EngineError, choose_with_reasons
from reid.engines.agreement import FLOORS, check_agreement, probe_crops
from reid.engines.folding import fold_batchnorm
from reid.engines.int8 import int8_graph, rounded_tensors
from reid.engines.onnx_runtime import OnnxRuntimeEngine
from reid.engines.open_vino import OpenVinoEngine
from reid.engines.rows import pack, rows_graph
from reid.engines.trial import Trial, check_probe, tried
from server.engine_trials import EngineTrials
from server.engines import Engines
from server.errors import StartError
from tests.test_rows_engine import ROWS, varied
from tests.tiny import make_tiny_bundle, open_tiny

DEMO = Path(__file__).parent.parent / "deploy/demo/demo.resight"
STARTER = DEMO.parent.parent / "starter/starter.resight"
MEASURED = Quantized(calibrated_on="a", crops=32, evaluated_on="b", queries=9, map_fp32=80.0, map_int8=80.1)
Embed = Callable[[np.ndarray], np.ndarray]


def equally_good(embed: Embed) -> float:
    """A ranking that nothing changes."""
    return 50.0


def copy_of(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle in another folder, to be written to."""
    path = folder / bundle.path.name
    path.mkdir()
    for file in bundle.path.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    return Bundle.load(path)


@pytest.fixture(scope="module")
def quantized(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small ResNet that says how to round."""
    copied = copy_of(bundle, tmp_path_factory.mktemp("quantized"))
    crops = probe_crops(*bundle.size, 32, seed=1)
    return quantize_bundle(copied, crops, equally_good, "drawn", "drawn", 9)


def two_convolutions() -> onnx.ModelProto:
    """float32 [1,1,1,2] -> a convolution, a ReLU, a convolution; all of one weight a channel."""
    weights = {"first": np.array([[[[1.0]]], [[[-1.0]]]]), "second": np.array([[[[0.5]], [[0.3]]]])}
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["y"]),
    ]
    value = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", value, [1, 1, 1, 2])],
        [helper.make_tensor_value_info("y", value, [1, 1, 1, 2])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_what_a_convolution_reads_is_rounded_between_its_lowest_and_highest_value() -> None:
    import onnxruntime as ort

    model = int8_graph(two_convolutions(), {"b": (0.0, 5.1)})
    onnx.checker.check_model(model)
    assert rounded_tensors(two_convolutions()) == ["b"]  # the first convolution reads pixels
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    x = np.array([1.009, -7.0], np.float32)
    step = 5.1 / 255
    read = np.stack([np.maximum(x, 0), np.maximum(-x, 0)])  # [2,2], before they are rounded
    read = np.clip(np.round(read / step), 0, 255) * step
    weights = np.round(np.array([0.5, 0.3]) / (0.5 / 127)) * (0.5 / 127)
    [answer] = session.run(None, {"x": x.reshape(1, 1, 1, 2)})
    assert np.abs(answer.ravel() - weights @ read).max() < 1e-6
    assert answer.ravel()[1] == pytest.approx(weights[1] * 5.1)  # 7 is beyond what was seen


def test_ranges_are_the_lowest_and_highest_activation_over_all_crops(bundle: Bundle) -> None:
    model = bundle.onnx_model()
    fold_batchnorm(model)
    crops = probe_crops(*bundle.size, 11, seed=3)  # more than one batch, and one that is not full
    ranges = activation_ranges(model, crops)
    assert list(ranges) == rounded_tensors(model)
    name = list(ranges)[-1]
    model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString())
    values = np.concatenate([session.run([name], {"crops": crop[None]})[0] for crop in crops])
    assert ranges[name] == pytest.approx((values.min(), values.max()), abs=1e-4)


@pytest.mark.parametrize("source", ["small", "demo", "starter"])
def test_one_set_of_ranges_serves_folded_and_gathered_batchnorm(bundle: Bundle, source: str) -> None:
    shipped = {"small": bundle.path, "demo": DEMO, "starter": STARTER}[source]
    model = Bundle.load(shipped).onnx_model()
    gathered = rows_graph(model)
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    fold_batchnorm(folded)
    assert rounded_tensors(folded) == rounded_tensors(gathered) == rounded_tensors(model) != []


def test_int8_computes_what_is_written_with_every_batchnorm_table(quantized: Bundle) -> None:
    engine = OpenVinoEngine(quantized, precision="int8")
    crops = probe_crops(*quantized.size, len(ROWS), seed=2)
    int8 = quantized.int8()
    assert int8 is not None
    written = embedder_of(int8_graph(quantized.onnx_model(), int8.ranges))(crops)
    in_float = OnnxRuntimeEngine(quantized).embed(crops)
    assert cosine(engine.embed(crops), written).min() >= FLOORS["int8"]
    assert cosine(written, in_float).min() > 0.98
    assert np.abs(written - in_float).max() > 1e-4  # it does round
    assert engine.describe().precision == "int8"
    profiles = [quantized.profile(), *(varied(quantized.profile(), seed) for seed in (1, 2, 3))]
    shared = engine.with_rows()
    assert shared.describe() == engine.describe()
    tables = np.stack([pack(profile, shared.layers) for profile in profiles])
    together = shared.embed(crops, ROWS, tables)
    alone = [engine.with_profile(profile).embed(crops) for profile in profiles]
    expected = np.stack([alone[row][place] for place, row in enumerate(ROWS)])
    assert cosine(together, expected).min() >= 1 - 3 * (1 - FLOORS["int8"])
    assert cosine(alone[1], alone[0]).min() < cosine(together, expected).min()  # the tables do differ


def test_a_bundle_that_ranks_worse_in_int8_stays_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    copied = copy_of(bundle, tmp_path)
    before = {file.name: file.read_bytes() for file in copied.path.iterdir()}
    crops = probe_crops(*bundle.size, 8)
    answers = iter([50.0, 49.6])
    with pytest.raises(ParityError, match=r"drawn with 49\.60 % mAP instead of 50\.00"):
        quantize_bundle(copied, crops, lambda embed: next(answers), "drawn", "drawn", 9)
    assert {file.name: file.read_bytes() for file in copied.path.iterdir()} == before
    answers = iter([50.0, 49.75])
    rounded = quantize_bundle(copied, crops, lambda embed: next(answers), "drawn", "drawn", 9)
    assert rounded.manifest.int8 is not None
    assert (rounded.manifest.int8.map_fp32, rounded.manifest.int8.map_int8) == (50.0, 49.75)


def test_the_ranking_is_asked_of_the_network_in_float_and_rounded(bundle: Bundle, tmp_path: Path) -> None:
    asked: list[np.ndarray] = []
    crops = probe_crops(*bundle.size, 8)

    def rank(embed: Embed) -> float:
        asked.append(embed(crops))
        return 50.0

    rounded = quantize_bundle(copy_of(bundle, tmp_path), crops, rank, "drawn", "drawn", 9)
    in_float, in_integers = asked
    assert np.abs(in_float - OnnxRuntimeEngine(bundle).embed(crops)).max() < 1e-4
    int8 = rounded.int8()
    assert int8 is not None
    assert np.abs(in_integers - int8.embeddings).max() < 1e-6  # of the same crops
    assert np.abs(in_integers - in_float).max() > 1e-4


def test_a_network_with_nothing_to_round_is_refused(tmp_path: Path) -> None:
    tiny = make_tiny_bundle(tmp_path)
    with pytest.raises(BundleError, match="nothing can be rounded"):
        quantize_bundle(tiny, probe_crops(*tiny.size, 8), equally_good, "drawn", "drawn", 9)


@pytest.mark.parametrize("limits", [(0.0, float("nan")), (0.0, float("inf"))])
def test_ranges_that_are_no_numbers_are_refused_by_name(
    bundle: Bundle, tmp_path: Path, limits: tuple[float, float]
) -> None:
    copied = copy_of(bundle, tmp_path)
    embeddings = np.ones((2, bundle.manifest.dim), np.float32)
    with pytest.raises(BundleError, match="'range of relu' is not two finite numbers"):
        write_int8(copied, Int8({"relu": limits}, embeddings), MEASURED).int8()


def test_a_graph_that_was_changed_since_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    embeddings = np.ones((2, bundle.manifest.dim), np.float32)
    changed = write_int8(copy_of(bundle, tmp_path), Int8({"relu": (0, 1)}, embeddings), MEASURED)
    with pytest.raises(EngineError, match="run resight bundle quantize again"):
        OpenVinoEngine(changed, precision="int8")
    with pytest.raises(EngineError, match="does not say how to round"):
        OpenVinoEngine(bundle, precision="int8")


def test_int8_that_computes_something_else_never_serves(quantized: Bundle, tmp_path: Path) -> None:
    int8 = quantized.int8()
    assert int8 is not None
    engine = OpenVinoEngine(quantized, precision="int8")
    lowest = check_probe(quantized, engine)
    assert lowest is not None
    assert lowest >= FLOORS["int8"]
    spoilt = write_int8(
        copy_of(quantized, tmp_path), Int8(int8.ranges, np.ascontiguousarray(-int8.embeddings)), MEASURED
    )
    outcome = tried(spoilt, OPENVINO_INT8)
    assert outcome.refused is not None
    assert "the floor of int8" in outcome.refused


def test_int8_is_not_ruled_out_by_a_float_engine_that_fails(quantized: Bundle, tmp_path: Path) -> None:
    probe = quantized.probe()
    assert probe is not None
    outcome = tried(write_probe(copy_of(quantized, tmp_path), -probe), OPENVINO_INT8)
    assert (outcome.refused, outcome.speed_up) == (None, None)
    assert outcome.crops_per_second is not None


def test_int8_is_tried_where_the_bundle_records_what_int8_makes_of_the_probe(
    quantized: Bundle, tmp_path: Path
) -> None:
    older = copy_of(quantized, tmp_path)
    files = {name: digest for name, digest in older.manifest.files.items() if name != PROBE}
    older = write_manifest(older, older.manifest.model_copy(update={"files": files}))
    trials = EngineTrials(older, tmp_path)
    assert trials(OPENVINO_INT8).speed_up is not None
    assert trials("openvino").undecided is not None


def test_a_manifest_that_does_not_list_its_int8_file_is_refused(quantized: Bundle, tmp_path: Path) -> None:
    torn = copy_of(quantized, tmp_path)
    files = {name: digest for name, digest in torn.manifest.files.items() if name != INT8}
    with pytest.raises(BundleError, match="disagree about int8"):
        write_manifest(torn, torn.manifest.model_copy(update={"files": files}))


def test_a_bundle_without_int8_stays_readable_for_older_versions(bundle: Bundle, quantized: Bundle) -> None:
    assert '"int8"' not in (bundle.path / MANIFEST).read_text()
    assert '"int8"' in (quantized.path / MANIFEST).read_text()


def test_vectors_of_the_library_are_of_the_servers_space(
    quantized: Bundle, tmp_path: Path, slow_then_fast: list[float]
) -> None:
    slow_then_fast.append(2.0)
    engines = engine_of(quantized, tmp_path / "data")
    model = load(quantized.path, engine=OPENVINO_INT8)
    assert model.raw_space_id == engines.raw_space(engines.base_id)


def test_a_convolution_whose_weight_is_computed_stays_as_it_is() -> None:
    model = two_convolutions()
    model.graph.node.insert(0, helper.make_node("Identity", ["second"], ["computed"]))
    model.graph.node[-1].input[1] = "computed"
    assert rounded_tensors(model) == []
    model.graph.node.append(helper.make_node("Conv", ["b", "first"], ["z"], group=2))
    rounded = int8_graph(model, {"b": (0.0, 5.1)})
    onnx.checker.check_model(rounded)
    assert [node.input[1] for node in rounded.graph.node if node.output[0] == "y"] == ["computed"]


def test_each_output_channel_of_a_weight_has_a_scale_of_its_own() -> None:
    model = two_convolutions()
    del model.graph.initializer[1]
    weight = np.array([[[[0.5]], [[0.3]]], [[[0.001]], [[0.002]]]], np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "second"))
    rounded = int8_graph(model, {"b": (-1.0, 5.1)})
    tensors = {t.name: numpy_helper.to_array(t) for t in rounded.graph.initializer}
    values = tensors["second/integers"] * tensors["second/scales"].reshape(-1, 1, 1, 1)
    assert np.abs(values - weight)[1].max() < 0.002 / 127
    read = (-1.0 - 0.0) / tensors["b/scale"] + tensors["b/zero"]  # zero, with which is padded, stays zero
    assert abs(float(read)) <= 1
    assert float(np.round(0.0 / tensors["b/scale"]) + tensors["b/zero"] - tensors["b/zero"]) == 0.0


def test_a_trial_of_int8_says_how_fast_it_is_beside_float(quantized: Bundle) -> None:
    outcome = tried(quantized, OPENVINO_INT8)
    assert outcome.refused is None
    assert outcome.speed_up is not None
    assert outcome.speed_up > 0
    assert tried(quantized, "openvino").speed_up is None


def outcomes(speed_up: float | None) -> Callable[[str], Trial]:
    """Trials in which everything works, and int8 has this rate."""
    return lambda name: Trial(min_cosine=1.0, speed_up=speed_up if name == OPENVINO_INT8 else None)


@pytest.mark.parametrize(
    ("speed_up", "stored", "precision"),
    [
        (1.2, None, "int8"),
        (1.1, None, "float"),
        (None, None, "float"),
        (3.0, "bf16", "float"),
        (0.5, "int8", "int8"),
    ],
)
def test_int8_is_taken_where_it_is_faster_and_the_gallery_may_be_in_it(
    quantized: Bundle, speed_up: float | None, stored: str | None, precision: str
) -> None:
    stored = quantized.precision_id("int8") if stored == "int8" else stored
    choice = choose_with_reasons(quantized, "cpu", trial=outcomes(speed_up), stored=stored)
    assert (choice.engine.describe().precision == "int8") == (precision == "int8")
    assert (OPENVINO_INT8 in choice.refused) == (precision != "int8")


def test_without_a_measurement_int8_is_taken_only_by_name(quantized: Bundle) -> None:
    assert choose_with_reasons(quantized, "cpu").engine.describe().precision != "int8"
    assert choose_with_reasons(quantized, "cpu", OPENVINO_INT8).engine.describe().precision == "int8"


@pytest.fixture
def slow_then_fast(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What int8's trials say of its rate, the last one until it is changed."""
    rate = [0.5]

    def trial_of(bundle: Bundle, name: str) -> Trial:
        return outcomes(rate[-1])(name)

    monkeypatch.setattr("server.engine_trials.trial_of", trial_of)
    return rate


def engine_of(bundle: Bundle, data: Path, **settings: object) -> Engines:
    """The engines of a server with a site, which is embedded again where it has to be; it is closed."""
    service = open_tiny(bundle, data, engine="auto", **settings)
    try:
        service.sites.get_or_create("yard")
        service.reembedding.run()
        return service.engines
    finally:
        service.close()


def test_a_gallery_stays_in_its_precision_until_it_is_embedded_again(
    quantized: Bundle, tmp_path: Path, slow_then_fast: list[float]
) -> None:
    data = tmp_path / "data"
    first = engine_of(quantized, data)
    assert first.info.precision != "int8"
    slow_then_fast.append(2.0)
    (data / "engines.json").unlink()
    second = engine_of(quantized, data)
    assert second.info.precision == first.info.precision
    assert "--reembed" in second.refused[OPENVINO_INT8]
    assert engine_of(quantized, data, reembed=True).info.precision == "int8"
    slow_then_fast.append(0.5)
    (data / "engines.json").unlink()
    assert engine_of(quantized, data).info.precision == "int8"


def test_vectors_of_other_ranges_are_of_another_space(
    quantized: Bundle, tmp_path: Path, slow_then_fast: list[float]
) -> None:
    slow_then_fast.append(2.0)
    data = tmp_path / "data"
    assert engine_of(quantized, data).info.precision == "int8"
    int8 = quantized.int8()
    assert int8 is not None
    wider = {name: (low, 1.01 * high) for name, (low, high) in int8.ranges.items()}
    other = write_int8(copy_of(quantized, tmp_path), Int8(wider, int8.embeddings), MEASURED)
    assert other.base_id == quantized.base_id
    with pytest.raises(StartError, match="cannot be compared"):
        engine_of(other, data)


def test_ranges_that_were_changed_under_a_running_server_are_never_taken(
    quantized: Bundle, tmp_path: Path
) -> None:
    served = copy_of(quantized, tmp_path)
    int8 = served.int8()
    assert int8 is not None
    wider = {name: (low, 2 * high) for name, (low, high) in int8.ranges.items()}
    write_int8(Bundle.load(served.path), Int8(wider, int8.embeddings), MEASURED)
    with pytest.raises(BundleError, match="was changed since the bundle was loaded"):
        served.int8()


def test_int8_that_cannot_be_written_leaves_the_one_that_was_there(quantized: Bundle, tmp_path: Path) -> None:
    copied = copy_of(quantized, tmp_path)
    before = {file.name: file.read_bytes() for file in copied.path.iterdir()}
    (copied.path / (INT8 + ".partial")).mkdir()  # where nothing can be written
    int8 = copied.int8()
    assert int8 is not None
    with pytest.raises(OSError, match="partial"):
        write_int8(copied, Int8({"relu": (0.0, 1.0)}, int8.embeddings), MEASURED)
    (copied.path / (INT8 + ".partial")).rmdir()
    assert {file.name: file.read_bytes() for file in copied.path.iterdir()} == before


def test_int8_is_added_to_what_the_manifest_says_by_then(quantized: Bundle, tmp_path: Path) -> None:
    copied = copy_of(quantized, tmp_path)
    write_manifest(copied, copied.manifest.model_copy(update={"weights_licence": "changed meanwhile"}))
    int8 = copied.int8()
    assert int8 is not None
    assert write_int8(copied, int8, MEASURED).manifest.weights_licence == "changed meanwhile"


def test_recorded_embeddings_that_are_no_numbers_check_nothing_and_are_refused(
    quantized: Bundle, tmp_path: Path
) -> None:
    int8 = quantized.int8()
    assert int8 is not None
    nothing = np.full_like(int8.embeddings, np.nan)
    torn = write_int8(copy_of(quantized, tmp_path), Int8(int8.ranges, nothing), MEASURED)
    with pytest.raises(BundleError, match="not finite"):
        torn.int8()
    with pytest.raises(EngineError, match="not finite"):
        check_agreement(int8.embeddings, nothing, "int8")
