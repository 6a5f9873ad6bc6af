"""What evaluation computes with, and how often."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from reid.engines import EngineError
from resight import app
from training.data.records import Dataset, Record
from training.evaluate import embed_dataset, embed_splits, open_embedder

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
