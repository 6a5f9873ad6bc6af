"""Crops through a torch network: batches, inference mode, flat memory."""

import weakref

import numpy as np
import pytest
import torch
from torch import Tensor

from reid.batches import in_batches
from reid.models.build import build
from reid.models.runner import CropRunner, run_crops
from reid.models.spec import ModelSpec


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_rows_come_in_their_order_whatever_the_batch(count: int) -> None:
    values = np.arange(2 * count, dtype=np.float64).reshape(count, 2)
    sizes: list[int] = []
    reports: list[tuple[int, int]] = []

    def compute(rows: slice) -> np.ndarray:
        sizes.append(len(values[rows]))
        return values[rows]

    result = in_batches(count, compute, batch=3, progress=lambda done, whole: reports.append((done, whole)))
    assert result.dtype == np.float32
    assert np.array_equal(result, values)
    assert max(sizes) <= 3
    assert reports[-1] == (count, count)


def test_no_batch_outlives_the_next_one() -> None:
    pieces: list[weakref.ref[np.ndarray]] = []

    def compute(rows: slice) -> np.ndarray:
        assert sum(piece() is not None for piece in pieces) <= 1
        piece = np.zeros((rows.stop - rows.start, 4))
        pieces.append(weakref.ref(piece))
        return piece

    in_batches(20, compute, batch=2)
    assert len(pieces) == 10


def test_a_network_runs_in_inference_mode_on_batches_of_the_given_size(rng: np.random.Generator) -> None:
    crops = rng.integers(0, 256, (7, 4, 2, 3), np.uint8)[:, ::-1]  # not contiguous, as a flipped crop is
    sizes = []

    def brightness(batch: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        assert batch.dtype == torch.uint8
        sizes.append(len(batch))
        return batch.to(torch.bfloat16).flatten(1).amax(1)

    result = run_crops(brightness, crops, batch=3)
    assert sizes == [3, 3, 1]
    assert result.dtype == np.float32
    assert np.abs(result - crops.reshape(7, -1).max(1)).max() <= 1  # bfloat16 has eight digits


def test_a_runner_gives_unit_embeddings_of_eval_mode(rng: np.random.Generator) -> None:
    embedder = build(ModelSpec("resnet18", 32, 32, ssl_heads=False)).train()
    crops = rng.integers(0, 256, (70, 32, 32, 3), np.uint8)
    before = {name: tensor.clone() for name, tensor in embedder.state_dict().items()}
    embeddings = CropRunner(embedder).embed(crops)
    assert embeddings.shape == (70, 512)
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    one_by_one = np.concatenate([CropRunner(embedder).embed(crops[i : i + 1]) for i in (0, 65)])
    assert np.allclose(embeddings[[0, 65]], one_by_one, atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in embedder.state_dict().items())
