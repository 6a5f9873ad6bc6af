"""BNTA: pairs, what changes and what does not, and which crops it sees."""

from collections import Counter

import numpy as np
import pytest
import torch

from reid.adaptation.bnta import AdaptationError, Bnta, adapt
from reid.adaptation.pairing import greedy_pairs, nearest_parts
from reid.adaptation.sampling import Thumbnails, balanced_order
from reid.bundle import Bundle
from reid.engines.pytorch import load_embedder
from reid.images import decode_crop
from reid.models.build import batchnorm_layers, build
from reid.models.spec import ModelSpec

SPEC = ModelSpec("resnet18", 96, 48)


def test_pairs_by_hand() -> None:
    d = np.full((6, 6), 9.0, np.float32)
    for (i, j), value in {(0, 1): 1.0, (1, 2): 0.5, (0, 3): 2.0, (4, 5): 3.0, (3, 4): 2.5}.items():
        d[i, j] = d[j, i] = value
    stripe = np.arange(36).reshape(6, 6) % 6
    pairs = greedy_pairs(d, stripe)
    # 1-2 first; 0-1 is out, since 1 is taken; then 0-3; 3-4 is out; then 4-5
    assert list(zip(pairs.first, pairs.second, strict=True)) == [(1, 2), (0, 3), (4, 5)]
    assert list(pairs.distance) == [0.5, 2.0, 3.0]
    assert list(pairs.stripe) == [stripe[1, 2], stripe[0, 3], stripe[4, 5]]
    assert len(greedy_pairs(d, stripe, max_pairs=2).first) == 2


def test_no_image_is_in_two_pairs_and_there_are_as_many_as_the_paper_says(rng: np.random.Generator) -> None:
    for n in (60, 301):
        points = torch.from_numpy(rng.normal(size=(n, 6, 8)).astype(np.float32))
        pairs = greedy_pairs(*nearest_parts(points))
        assert len(pairs.first) == min(128, n // 2)
        assert max(Counter([*pairs.first, *pairs.second]).values()) == 1
        assert (np.diff(pairs.distance) >= 0).all()


def test_nearest_parts_agree_with_loops(rng: np.random.Generator) -> None:
    parts = torch.from_numpy(rng.normal(size=(7, 6, 4)).astype(np.float32))
    distance, stripe = nearest_parts(parts)
    for i in range(7):
        for j in range(i):
            every = [(parts[i, h] - parts[j, h]).norm().item() for h in range(6)]
            assert distance[i, j] == pytest.approx(min(every), rel=1e-4)
            assert stripe[i, j] == int(np.argmin(every))


@pytest.fixture
def crops(people: list[tuple[bytes, str, str]]) -> np.ndarray:
    """uint8 [48,96,48,3]."""
    return np.stack([decode_crop(data, SPEC.height, SPEC.width) for data, _, _ in people])


def test_only_batchnorm_values_change_and_all_of_them_can(crops: np.ndarray) -> None:
    model = build(SPEC).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [p.requires_grad for p in model.parameters()]
    report = adapt(model, crops, Bnta(batch_pairs=8))
    layers = batchnorm_layers(model)
    for name, value in model.state_dict().items():
        module, _, kind = name.rpartition(".")
        same = torch.equal(value, before[name])
        if module not in layers:
            assert same, f"{name} is no BatchNorm value and changed"
        elif kind in ("running_mean", "running_var") or module.startswith("trunk"):
            # the neck's affine values get no gradient, and those of a head only if a pair was nearest at its
            # stripe
            assert not same, f"{name} did not follow the site"
    assert report.pairs == 24
    assert report.steps == 3
    assert [p.requires_grad for p in model.parameters()] == flags
    assert not any(module.training for module in model.modules())


def test_the_same_seed_gives_the_same_values(crops: np.ndarray, bundle: Bundle) -> None:
    states = []
    for seed in (0, 0, 1):
        model = load_embedder(bundle)
        adapt(model, crops, Bnta(batch_pairs=8, seed=seed))
        states.append(model.neck.running_mean.clone())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_too_few_crops_and_no_heads_are_refused(crops: np.ndarray) -> None:
    with pytest.raises(AdaptationError, match="at least 16"):
        adapt(build(SPEC), crops[:15])
    with pytest.raises(AdaptationError, match="ssl_heads"):
        adapt(build(ModelSpec("resnet18", 96, 48, ssl_heads=False)), crops)


@pytest.mark.parametrize(("batch_pairs", "steps"), [(6, 2), (7, 1)])
def test_a_last_batch_of_four_images_is_used_and_one_of_two_is_not(
    crops: np.ndarray, batch_pairs: int, steps: int
) -> None:
    report = adapt(build(SPEC), crops[:16], Bnta(batch_pairs=batch_pairs))
    assert (report.pairs, report.steps) == (8, steps)


def test_progress_ascends_through_its_stages(crops: np.ndarray) -> None:
    seen: list[tuple[float, str]] = []
    adapt(build(SPEC), crops[:16], Bnta(batch_pairs=4), lambda *step: seen.append(step))
    assert seen == [(0, "comparing parts"), (0.5, "pairing"), (0.5, "adapting"), (0.75, "adapting")]


def test_progress_can_stop_it(crops: np.ndarray) -> None:
    class StopError(Exception):
        pass

    def stop(share: float, stage: str) -> None:
        if stage == "adapting":
            raise StopError

    model = build(SPEC)
    with pytest.raises(StopError):
        adapt(model, crops, progress=stop)
    assert all(p.requires_grad for name, p in model.named_parameters() if name != "neck.bias")


def test_any_prefix_of_the_sample_is_balanced_over_cameras() -> None:
    cameras = ["a"] * 100 + ["b"] * 10 + [None] * 10
    order = balanced_order(cameras, seed=0)
    assert sorted(order) == list(range(120))
    assert Counter(cameras[i] for i in order[:30]) == {"a": 10, "b": 10, None: 10}
    assert balanced_order(cameras, seed=0) == order != balanced_order(cameras, seed=1)


def test_crops_are_compared_by_the_mean_colours_of_blocks(rng: np.random.Generator) -> None:
    crop = rng.integers(0, 256, (96, 48, 3), np.uint8)
    mirrored = crop.reshape(16, 6, 8, 6, 3)[:, ::-1, :, ::-1].reshape(crop.shape)  # each block in itself
    seen = Thumbnails()
    assert seen.is_new(crop, "door")
    assert not seen.is_new(mirrored, "door")
    assert seen.is_new(crop[..., ::-1], "door")  # other colours


def test_near_duplicates_of_one_camera_are_dropped(crops: np.ndarray) -> None:
    seen = Thumbnails()
    assert seen.is_new(crops[0], "door")
    assert not seen.is_new(crops[0], "door")
    assert not seen.is_new(np.clip(crops[0].astype(int) + 1, 0, 255).astype(np.uint8), "door")
    assert seen.is_new(crops[0], "hall")
    assert seen.is_new(crops[5], "door")
