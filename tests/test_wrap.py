"""Foreign networks as bundles: what they answer stays the same, and what they expect is found out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from export.card import card
from export.preprocessing import Preprocessing, Probes, candidates, choose
from export.wrap import Foreign, wrap_network
from reid.adaptation.sampling import MIN_CROPS
from reid.bundle import Bundle, cosine
from reid.engines import EngineError, choose_engine
from reid.engines.agreement import probe_crops
from reid.engines.chooser import installed_engines
from resight import app
from server.errors import Unprocessable
from server.gallery.records import NewItem
from server.service import Service
from tests.test_batchnorm import changed
from tests.tiny import open_tiny, picture

HEIGHT, WIDTH, DIM, EPSILON = 32, 16, 8, 1e-3
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)


def make_foreign(path: Path, batchnorm: bool = True, open_size: bool = False) -> Path:
    """A small network with a batch of one, as exporters write it: float32 [1,3,32,16] -> [1,8]."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.4, shape).astype(np.float32)

    tensors = {
        "conv.w": drawn(6, 3, 3, 3),
        "depthwise.w": drawn(6, 1, 3, 3),
        "depthwise.b": drawn(6),
        "gamma": 1 + drawn(6) / 4,
        "beta": drawn(6),
        "mean": drawn(6),
        "var": np.abs(drawn(6)) + 0.1,
        "slope": np.full((6, 1, 1), 0.1, np.float32),
        "linear.w": drawn(6 * 4 * 2, DIM),
        "flat": np.array([1, -1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv.w"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["a", "gamma", "beta", "mean", "var"], ["b"], epsilon=EPSILON)
        if batchnorm
        else helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "depthwise.w", "depthwise.b"], ["d"], pads=[1, 1, 1, 1], group=6),
        helper.make_node("PRelu", ["d", "slope"], ["e"]),
        helper.make_node("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("AveragePool", ["f"], ["g"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Sigmoid", ["g"], ["h"]),
        helper.make_node("Mul", ["g", "h"], ["i"]),
        helper.make_node("Reshape", ["i", "flat"], ["j"]),
        helper.make_node("MatMul", ["j", "linear.w"], ["vector"]),
    ]
    read = {name for node in nodes for name in node.input}
    size = ["height", "width"] if open_size else [HEIGHT, WIDTH]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, DIM])],
        [numpy_helper.from_array(values, name) for name, values in tensors.items() if name in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module", params=["onnx", "onnx without BatchNorm", "OpenVINO"])
def wrapped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """The network's file, and the bundle that was made of it."""
    folder = tmp_path_factory.mktemp("wrap")
    file = make_foreign(folder / "foreign.onnx", batchnorm=request.param == "onnx")
    if request.param == "OpenVINO":
        openvino.save_model(openvino.convert_model(file), folder / "foreign.xml")  # in half precision
        file = folder / "foreign.xml"
    how = Preprocessing("bgr", MEAN, STD)
    return file, wrap_network(Foreign(file), how, folder / "w.resight", "w", "test")[0]


def test_every_engine_answers_as_the_network_itself(wrapped: tuple[Path, Bundle]) -> None:
    file, bundle = wrapped
    crops = probe_crops(HEIGHT, WIDTH, 5, seed=1)
    images = ((crops - np.array(MEAN)) / np.array(STD))[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    expected = np.concatenate([openvino.compile_model(file, "CPU")(image[None])[0] for image in images])
    engines = [name for name in installed_engines("cpu") if name != "torch"]
    assert set(bundle.manifest.engines) == set(engines)
    for name in engines:
        found = choose_engine(bundle, "cpu", name).embed(crops)
        assert cosine(found, expected).min() > 0.9999
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
    with pytest.raises(EngineError, match="foreign network that was wrapped"):
        choose_engine(bundle, "cpu", "torch")


def test_batchnorm_that_is_still_there_can_be_adapted(wrapped: tuple[Path, Bundle]) -> None:
    _, bundle = wrapped
    profile = bundle.profile()
    engine = choose_engine(bundle, "cpu", "onnxruntime")
    crops = probe_crops(HEIGHT, WIDTH, 3)
    same = engine.with_profile(profile).embed(crops)
    assert np.allclose(same, engine.embed(crops), atol=1e-6)
    if not profile.site:
        return
    assert [values.shape for values in profile.site.values()] == [(4, 6)]
    assert not np.allclose(engine.with_profile(changed(profile)).embed(crops), same, atol=1e-3)


def test_a_wrapped_network_is_served_and_adapted_by_tier_0(
    wrapped: tuple[Path, Bundle], tmp_path: Path
) -> None:
    _, bundle = wrapped

    async def story() -> None:
        service = open_tiny(bundle, tmp_path / "data")
        try:
            await enrolled_and_adapted(service, bool(bundle.profile().site))
        finally:
            service.close()

    asyncio.run(story())


async def enrolled_and_adapted(service: Service, has_batchnorm: bool) -> None:
    images = [picture(number) for number in range(2 * MIN_CROPS)]
    records = [NewItem(camera=f"c{number % 2}") for number in range(len(images))]
    items = (await service.enrolling.enroll("lobby", images, records)).items
    answer = await service.querying.query("lobby", images=images[3:4])
    assert answer.matches[0].item.id == items[3].id
    if not has_batchnorm:
        with pytest.raises(
            Unprocessable, match="'w' has no BatchNorm layer left to adapt; tier 0 needs none"
        ):
            await service.adapting.adapt("lobby", "1", gate=False)
    job = await service.adapting.adapt("lobby", "0", gate=False)
    while service.jobs.get(job.id).state in ("queued", "running"):
        await asyncio.sleep(0.02)
    assert service.jobs.get(job.id).state == "succeeded", service.jobs.get(job.id)
    answer = await service.querying.query("lobby", images=images[3:4])
    assert answer.matches[0].item.id == items[3].id and answer.version == 2


def people(count: int, cameras: int) -> Probes:
    """Crops that tell people apart by their red and nothing else, at cameras that differ in blue."""
    rng = np.random.default_rng(0)
    identities = np.repeat(np.arange(count), cameras)
    crops = np.zeros((len(identities), 8, 4, 3), np.uint8)
    crops[..., 0] = rng.integers(0, 256, (count, 8, 4))[identities]
    crops[..., 2] = rng.integers(0, 256, crops.shape[:3])
    return Probes(crops, identities, np.tile(np.arange(cameras), count))


@pytest.mark.parametrize(("place", "order"), [(0, "rgb"), (2, "bgr")])
def test_the_order_of_channels_is_found_out(place: int, order: str) -> None:
    choice = choose(
        lambda images: images[:, place].reshape(len(images), -1), people(12, 2), candidates(None, None, None)
    )
    assert choice.how == Preprocessing(order) and choice.sure > 0.95
    assert choice.judged[0].mean_ap > 90 > choice.judged[-1].mean_ap


def test_the_scale_is_found_out_and_a_network_that_normalises_gets_the_plainest() -> None:
    def clipped(images: np.ndarray) -> np.ndarray:  # sees only -2 to 2
        return np.clip(images[:, 0], -2, 2).reshape(len(images), -1) + 1e-3

    choice = choose(clipped, people(12, 2), candidates("rgb", None, None))
    assert choice.how.std != (1.0, 1.0, 1.0) and choice.sure > 0.95

    def normalised(images: np.ndarray) -> np.ndarray:
        flat = images[:, 0].reshape(len(images), -1)
        return (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)

    choice = choose(normalised, people(12, 2), candidates("rgb", None, None))
    assert choice.how == Preprocessing("rgb") and choice.judged[0].alike == 3


def test_what_is_given_is_not_guessed() -> None:
    assert candidates("bgr", MEAN, STD) == [Preprocessing("bgr", MEAN, STD)]
    assert {way.mean for way in candidates(None, MEAN, None)} == {MEAN}
    assert {way.order for way in candidates("bgr", None, None)} == {"bgr"}
    assert len(candidates(None, None, None)) == 8


def wrap_command(*words: object) -> tuple[int, str]:
    """Exit status and output of `resight bundle wrap`."""
    done = CliRunner().invoke(app, ["bundle", "wrap", *map(str, words)])
    return done.exit_code, " ".join(done.output.split())


def test_the_command_says_what_it_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, out = make_foreign(tmp_path / "open.onnx", open_size=True), tmp_path / "w.resight"
    code, said = wrap_command(file, "--out", out, "--size", f"{HEIGHT}x{WIDTH}", "--mean", 0, "--std", 255)
    assert code == 0, said
    assert "it ranks best in" in said and "--mean 0,0,0 --std 255,255,255" in said
    manifest = Bundle.load(out).manifest
    assert (manifest.name, manifest.height, manifest.width, manifest.dim) == ("w", HEIGHT, WIDTH, DIM)
    assert manifest.recipe["wrapped"] == "open.onnx"
    assert "to the network itself" in card(manifest) and "| trained on | unknown |" in card(manifest)
    given = ("--size", f"{HEIGHT}x{WIDTH}", "--mean", 0, "--std", "1,1,1", "--input", "rgb")
    monkeypatch.chdir(tmp_path)
    code, said = wrap_command(file, "--name", "n", *given)
    assert code == 0 and "ranks best" not in said and Bundle.load("n.resight").manifest.name == "n"


def test_a_wrong_wrap_ends_with_a_sentence(tmp_path: Path) -> None:
    file, out = make_foreign(tmp_path / "f.onnx"), tmp_path / "w.resight"
    junk, odd = tmp_path / "junk.onnx", tmp_path / "odd.onnx"
    junk.write_bytes(b"no network")
    (tmp_path / "junk.xml").write_text("no network")
    vector = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "odd", [vector], [result])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), odd)
    taken = tmp_path / "taken.resight"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    flags = ("--input", "rgb", "--mean", 0, "--std", 1)
    for words, sentence in (
        ((tmp_path / "no.onnx", "--out", out), "does not exist"),
        ((junk, "--out", out), "cannot be read as ONNX"),
        ((tmp_path / "junk.xml", "--out", out), "no network that OpenVINO can read"),
        ((odd, "--out", out), "a wrap needs images"),
        ((make_foreign(tmp_path / "o.onnx", open_size=True), "--out", out), "give it with --size"),
        ((file, "--out", out, "--size", "64x32"), "takes images of 32x16, not 64x32"),
        ((file, "--out", out, "--size", "big"), "--size big: HEIGHTxWIDTH"),
        ((file, "--out", out, "--mean", "1,2"), "--mean 1,2: three numbers"),
        ((file, "--out", out, "--std", "0"), "nothing can be divided by 0"),
        ((file, "--out", taken, *flags), "taken.resight"),
    ):
        code, said = wrap_command(*words)
        assert code == 1 and sentence in said and not out.exists(), said
    assert (taken / "mine.txt").read_text() == "mine"
