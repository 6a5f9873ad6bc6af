"""What evaluation computes with, and how often."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from reid.engines import EngineError
from reid.images import CropSize
from reid.models.build import PixelEmbedder, build
from reid.models.spec import ModelSpec
from reid.ranking import rank_scores
from resight import app
from training.data import read_dataset
from training.data.records import Dataset, Record
from training.evaluate import Embedded, embed_dataset, embed_records, embed_splits, open_embedder, score
from training.features import Features, feature_runner
from training.loop import Run
from training.recipe import load_recipe

CROPS = np.random.default_rng(0).integers(0, 255, (12, 4, 2, 3), np.uint8)


def _crops(records: list[Record], *size: int) -> np.ndarray:
    return CROPS[[int(r.path.stem) for r in records]]


def _embed(crops: np.ndarray) -> np.ndarray:
    flat = crops.reshape(len(crops), -1).astype(np.float32)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_splits_embed_each_crop_once_and_score_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.evaluate.load_crops", _crops)
    records = [Record(Path(f"{i}.png"), 1 + i // 2, i % 2) for i in range(12)]
    parts = [
        Dataset("halves", [], [records[i] for i in order[:6]], [records[i] for i in order[6:]])
        for order in ([*range(0, 12, 2), *range(1, 12, 2)], [*range(1, 12, 2), *range(0, 12, 2)])
    ]
    embedded_crops = 0

    def counted(crops: np.ndarray) -> np.ndarray:
        nonlocal embedded_crops
        embedded_crops += len(crops)
        return _embed(crops)

    together = embed_splits(counted, parts, (4, 2))
    assert embedded_crops == 12
    for part, joint in zip(parts, together, strict=True):
        alone = embed_dataset(_embed, part, (4, 2))
        np.testing.assert_allclose(joint.query, alone.query)
        np.testing.assert_allclose(joint.gallery, alone.gallery)
        assert all(np.array_equal(a, b) for a, b in zip(joint.labels, alone.labels, strict=True))


@pytest.mark.parametrize("engine", ["xx", "openvino"])
def test_an_engine_for_a_run_is_refused(engine: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="torch computes it"):
        open_embedder(tmp_path, "auto", engine)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "--metrics"),
        ("[]", "has no dataset"),
        (json.dumps({"dataset": "d", "splits": []}), "has no command"),
        (json.dumps({"dataset": "d", "command": "c"}), "has no mAP"),
        (json.dumps({"dataset": "x", "command": "c", "mAP": "good"}), "percentage"),
        (json.dumps({"dataset": "x", "command": "c", "mAP": True}), "percentage"),
        (json.dumps({"dataset": "x", "command": "c", "mAP": 140}), "percentage"),
        (json.dumps({"dataset": 3, "command": "c", "mAP": 40}), "dataset is a text"),
    ],
)
def test_metrics_of_something_else_are_refused(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(content)
    words = ["export", str(tmp_path), "--out", str(tmp_path / "x.resight"), "--metrics", str(path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1 and said in result.stderr


def test_euclidean_distances_rank_as_a_loop_over_them_does() -> None:
    rng = np.random.default_rng(3)
    query, gallery = 5 + rng.normal(size=(6, 4)) * 3, 5 + rng.normal(size=(30, 4)) * 3
    pids = (rng.integers(0, 3, 6), rng.integers(0, 3, 30), rng.integers(0, 2, 6), rng.integers(0, 2, 30))
    embedded = Embedded(query.astype(np.float32), gallery.astype(np.float32), pids, False)
    distances = np.array([[np.linalg.norm(q - g) for g in gallery] for q in query])
    expected = rank_scores(-distances, *pids)
    found = score(embedded, distance="euclidean")
    assert found.mean_ap == pytest.approx(expected.mean_ap) and np.allclose(found.cmc, expected.cmc)
    assert score(embedded).mean_ap != pytest.approx(expected.mean_ap)
    with pytest.raises(ValueError, match="by cosine"):
        score(embedded, reranked=True, distance="euclidean")


def test_features_are_taken_before_or_behind_the_neck_and_averaged_with_the_mirror() -> None:
    embedder = build(ModelSpec("resnet18", 32, 32, ssl_heads=False)).eval()
    torch.nn.init.uniform_(embedder.neck.weight)
    crops = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)

    def of(*features: object) -> np.ndarray:
        return feature_runner(embedder, "cpu", Features(*features))(crops)

    pixels = PixelEmbedder(embedder).eval()
    with torch.inference_mode():
        x = pixels.normalise(torch.from_numpy(crops))
        mirrored = pixels.normalise(torch.from_numpy(crops[:, :, ::-1].copy()))
        f, g = embedder.features(x), embedder.features(mirrored)
    assert np.allclose(of("f_t", False), f.before_neck, atol=1e-5)
    assert np.allclose(of("f_i", False), f.after_neck, atol=1e-5)
    assert np.allclose(of("f_t"), torch.nn.functional.normalize(f.before_neck), atol=1e-5)
    assert np.allclose(of("f_i", False, True), (f.after_neck + g.after_neck) / 2, atol=1e-5)
    assert not np.allclose(of("f_i", False), of("f_i", False, True), atol=1e-3)


def test_published_weights_are_evaluated_without_a_training(tmp_path: Path) -> None:
    network = build(ModelSpec("resnet18", neck=False, ssl_heads=False))
    save_file(network.trunk.state_dict(), tmp_path / "resnet18.safetensors")
    embed, size, _ = open_embedder(tmp_path / "resnet18.safetensors", "cpu")
    assert tuple(size) == (256, 128, "bilinear")
    assert embed(np.zeros((1, 256, 128, 3), np.uint8)).shape == (1, 512)
    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors"):
        open_embedder(tmp_path / "other.safetensors", "cpu")


def test_crops_are_resized_as_the_network_was_trained(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (19, 11, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    record = [Record(tmp_path / "a.png", 1, 0)]
    for name, kind in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
        expected = np.asarray(Image.fromarray(pixels).resize((16, 32), kind))
        crops = embed_records(lambda batch: batch, record, CropSize(32, 16, name))
        assert np.array_equal(crops[0], expected)
    with pytest.raises(ValueError, match="bilinear or bicubic"):
        ModelSpec(interpolation="nearest")


def test_the_classifiers_own_error_is_counted(tmp_path: Path) -> None:
    for part, shades in (("train", (10, 240)), ("test", (20, 230, 15))):
        for number, shade in enumerate(shades):
            name = "dark" if shade < 100 else "light"
            (tmp_path / part / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (shade,) * 3).save(tmp_path / part / name / f"{number}.png")
    settings = ["model.arch=resnet18", "precision=32-true", "batch_identities=2"]
    data = read_dataset("classes", tmp_path)
    run = Run(load_recipe("ptl-table7-densenet100", settings), data, tmp_path / "run", device="cpu")
    run.fit(max_steps=0)
    run.save()
    logits, wrong = run.method.classifier, 0
    embed = open_embedder(tmp_path / "run", "cpu", features=Features(unit=False))[0]
    for record in data.query:
        with torch.inference_mode():
            crop = np.asarray(Image.open(record.path))[None]
            wrong += int(logits(torch.from_numpy(embed(crop))).argmax()) + 1 != record.pid
    said = CliRunner().invoke(
        app,
        ["evaluate", str(tmp_path / "run"), "--dataset", "classes", "--data", str(tmp_path), "--classifier"],
    )
    assert f"classes: {100 * wrong / 3:.2f} % of 3 images are classified wrongly" in said.output
