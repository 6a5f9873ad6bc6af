"""Bundles: whole or refused, with a sentence that says which file and why."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.serving import ROOT
from export.bundle import _without_folders, export_bundle
from export.card import card
from export.parity import ParityError
from reid.bundle import Bundle, BundleError, Quantized
from reid.checkpoint import CheckpointError, read_embedder
from reid.models.spec import ModelSpec
from tests.conftest import ELSEWHERE, make_checkpoint
from training.recipe import load_recipe

TINY = ModelSpec("resnet18", 64, 32, ssl_heads=False)


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(bundle.path, tmp_path / "copy.resight"))


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx"])
def test_one_flipped_bit_is_refused_by_name(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 4
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} is damaged"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx"])
def test_a_network_that_was_changed_under_a_running_server_is_never_compiled(copy: Path, name: str) -> None:
    served = Bundle.load(copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 4
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} was changed since the bundle was loaded"):
        served.onnx_model()


def test_weights_that_were_changed_since_are_never_read(copy: Path) -> None:
    served = Bundle.load(copy)
    (copy / "weights.safetensors").write_bytes(b"others")
    with pytest.raises(BundleError, match="was changed since the bundle was loaded"):
        served.weights()


def test_a_graph_that_looks_for_weights_elsewhere_is_refused(copy: Path) -> None:
    served = Bundle.load(copy)
    graph = onnx.load_from_string((copy / "model.onnx").read_bytes())
    tensor = next(each for each in graph.graph.initializer if each.external_data)
    next(entry for entry in tensor.external_data if entry.key == "location").value = "/etc/passwd"
    data = graph.SerializeToString()
    (copy / "model.onnx").write_bytes(data)
    served.manifest.files["model.onnx"] = hashlib.sha256(data).hexdigest()
    with pytest.raises(BundleError, match=r"where it is not: .* of /etc/passwd"):
        served.onnx_model()


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx", "manifest.json"])
def test_a_missing_file_is_refused_by_name(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema_version": 99}, "schema 99"),
        ({"dim": 7}, r"manifest says .* to \[7\]"),
        ({"height": "tall"}, "height"),
        ({"colour": "red"}, "colour"),
        ({"files": {}}, "no checksum for model.onnx"),
        (
            {"files": {"../../etc/passwd": "00", "model.onnx": "0", "weights.safetensors": "0"}},
            "leaves the bundle",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    copy: Path, change: dict[str, object], sentence: str
) -> None:
    values = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(values | change))
    with pytest.raises(BundleError, match=sentence):
        Bundle.load(copy)


def test_weights_are_stored_once_and_batchnorm_in_full_precision(bundle: Bundle) -> None:
    sizes = {file.name: file.stat().st_size for file in bundle.path.iterdir()}
    assert sizes["model.onnx"] < 0.02 * sizes["weights.safetensors"]
    from safetensors.numpy import load_file

    stored = load_file(bundle.path / "weights.safetensors")
    assert stored["trunk.conv1.weight"].dtype == np.float16
    assert all(stored[name].dtype == np.float32 for name in stored if "running_" in name)


def test_no_path_of_the_machine_is_in_a_bundle(bundle: Bundle) -> None:
    graph = (bundle.path / "model.onnx").read_bytes() + (bundle.path / "manifest.json").read_bytes()
    assert b"site-packages" not in graph
    assert str(Path(__file__).parent.parent).encode() not in graph


def test_where_teacher_and_first_weights_lay_is_not_in_a_bundle(bundle: Bundle) -> None:
    assert bundle.manifest.recipe["start"] == "first"
    assert bundle.manifest.recipe["distill"] == {
        "teacher": "first.xml",
        "cache": "first.safetensors",
        "weight": 0.5,
    }
    assert ELSEWHERE in read_embedder(bundle.path.parent / "run")[1]["recipe"]["start"]
    assert ELSEWHERE not in (bundle.path / "manifest.json").read_text()


def test_a_card_says_what_the_manifest_says(bundle: Bundle) -> None:
    scores = {
        "mAP": 58.2,
        "rank-1": 75.6,
        "calibration slope": 12.5,
        "calibration intercept": -7.0,
        "calibration error": 2.5,
    }
    measured = [
        {"dataset": "market1501", "command": "resight evaluate x.resight", **scores},
        {"dataset": "viper", "command": "y", "mAP": 9.0},
    ]
    text = card(bundle.manifest.model_copy(update={"metrics": measured}))
    assert "| market1501 | 58.2 | 75.6 |" in text and "| viper | 9.0 |  |" in text
    assert "| market1501 | 12.5 | -7.0 | 2.5 |" in text and text.count("viper") == 1
    assert "    resight evaluate x.resight\n    y\n" in text and bundle.manifest.weights_licence in text
    assert "Scores" not in card(bundle.manifest.model_copy(update={"metrics": []}))
    assert "| int8 |" not in text
    int8 = Quantized(calibrated_on="a", crops=32, evaluated_on="b", queries=9, map_fp32=80.0, map_int8=80.1)
    text = card(bundle.manifest.model_copy(update={"int8": int8}))
    assert "32 crops of a; on b (9 queries) mAP 80.1 instead of 80.0" in text


def test_export_needs_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        export_bundle(tmp_path / "nothing", tmp_path / "out.resight")
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not one")
    with pytest.raises(CheckpointError, match="damaged"):
        export_bundle(tmp_path, tmp_path / "out.resight")


def test_a_wrong_engine_leaves_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reid.engines.onnx_runtime import OnnxRuntimeEngine

    embed = OnnxRuntimeEngine.embed
    monkeypatch.setattr(OnnxRuntimeEngine, "embed", lambda self, crops: embed(self, crops)[:, ::-1])
    with pytest.raises(ParityError, match="onnxruntime"):
        export_bundle(make_checkpoint(tmp_path / "run", TINY), tmp_path / "out.resight")
    assert not list(tmp_path.glob("*.resight*"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "deploy").glob("*/*.resight")))
def test_a_shipped_bundle_s_card_is_its_manifest_s(name: str) -> None:
    folder = ROOT / "deploy" / name
    assert (
        (folder / "README.md").read_text().startswith(card(Bundle.load(folder / f"{name}.resight").manifest))
    )


def test_a_card_names_every_teacher_and_no_folder(bundle: Bundle) -> None:
    recipe = _without_folders(load_recipe("demo").to_dict())
    assert recipe["distill"]["teacher"] == "teacher-0+teacher-1"
    page = card(bundle.manifest.model_copy(update={"recipe": recipe}))
    assert "distilled from teacher-0 and teacher-1 (share 0.8)" in page
    assert "runs/" not in page


def test_where_there_is_no_bundle_the_error_says_what_is_there(bundle: Bundle, tmp_path: Path) -> None:
    file, inside = tmp_path / "bundle.zip", bundle.path.parent
    file.touch()
    for path, sentence in (
        (tmp_path / "nothing.resight", "there is nothing at that path"),
        (file, "that is a file, and a bundle is a folder"),
        (tmp_path, "that folder is no bundle, since it has no manifest.json"),
        (inside, f"holds {bundle.path.name}"),
    ):
        with pytest.raises(BundleError, match=f"^no bundle at {path}: .*{sentence}"):
            Bundle.load(path)
