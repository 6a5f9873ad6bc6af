"""Changes of colour and sharpness against a slow version, crop by crop; and MixStyle against its formula."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid.models.build import build
from reid.models.efficientnet import EfficientNetTrunk
from reid.models.spec import ModelSpec
from training.data.early_size import EarlySize
from training.data.loader import TrainingLoader
from training.data.photometric import Draws, Photometric, _noise_bank, change
from training.data.records import Dataset
from training.data.transforms import Augmentation
from training.loop import Run
from training.mixstyle import MixStyle, StyleMixer, mix
from training.recipe import RecipeError, load_recipe
from training.synthetic.drawn import draw_dataset

STRONG = Photometric(0.5, 0.1, 0.4, 0.4, 0.5, 0.2, 0.5, 1.5, 0.5, 20.0, 0.0)


def slow(crop: np.ndarray, d: Draws) -> np.ndarray:
    """uint8 [H,W,3], changed step by step; without scaling down, which needs torch's own filter."""
    x = np.clip(crop / 255 * [d.red, d.green, d.blue], 0, 1) ** d.gamma
    grey = (x @ [0.299, 0.587, 0.114])[..., None]
    x = grey + d.saturation * (x - grey)
    x = grey.mean() + d.contrast * (x - grey.mean())
    if d.blur > 0.05:
        kernel = np.exp(-0.5 * (np.arange(-3, 4) / d.blur) ** 2)
        kernel /= kernel.sum()
        for axis in (1, 0):
            pad = [(3, 3) if a == axis else (0, 0) for a in range(3)]
            padded = np.pad(x, pad, mode="edge")
            size = x.shape[axis]
            x = sum(w * np.take(padded, range(i, i + size), axis) for i, w in enumerate(kernel))
    bank = _noise_bank(torch.device("cpu")).numpy()
    first = int(np.float64(np.float32(d.offset)) * (len(bank) - crop.size))
    noise = bank[first : first + crop.size].reshape(3, *crop.shape[:2]).transpose(1, 2, 0)
    return np.clip(np.round((x + d.noise / 255 * noise).clip(0, 1) * 255), 0, 255)


def test_a_batch_is_changed_as_each_crop_alone_would_be(rng: np.random.Generator) -> None:
    crops = rng.integers(0, 256, (40, 24, 12, 3), dtype=np.uint8)
    draws = np.stack([STRONG.draw(rng) for _ in crops])
    changed = change(torch.from_numpy(crops), torch.from_numpy(draws)).numpy()
    for crop, draw, result in zip(crops, draws, changed, strict=True):
        assert np.abs(slow(crop, Draws(*draw)) - result).max() <= 1  # of rounding


def test_scaling_down_loses_detail_and_keeps_size_and_brightness(rng: np.random.Generator) -> None:
    crops = rng.integers(0, 256, (8, 32, 16, 3), dtype=np.uint8)
    draws = np.stack([Photometric(downscale=1).draw(rng) for _ in crops])
    assert {round(float(share), 2) for share in draws[:, -2]} <= {0.7, 0.5, 0.35}
    changed = change(torch.from_numpy(crops), torch.from_numpy(draws)).numpy()
    assert changed.shape == crops.shape
    assert np.allclose(changed.mean((1, 2)), crops.mean((1, 2)), atol=12)
    assert (changed.std((1, 2, 3)) < 0.8 * crops.std((1, 2, 3))).all()


def slow_jpeg(crop: np.ndarray, quality: int) -> np.ndarray:
    """uint8 [H,W,3] -> what libjpeg's encoder and decoder leave of it."""
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("size", [(32, 16), (29, 13)])
def test_jpeg_leaves_what_a_real_codec_leaves(size: tuple[int, int], rng: np.random.Generator) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [np.sin(x / a + y / b) for a, b in ((3, 7), (-5, 2), (2, 9), (4, -3))]
    crops = np.stack([np.stack([w, waves[0], -w], -1) * 60 + 128 for w in waves])
    crops = np.clip(crops + rng.normal(0, 12, crops.shape), 0, 255).round().astype(np.uint8)
    qualities = [8, 30, 60, 95]
    draws = np.stack([Photometric(jpeg=1).draw(rng) for _ in crops])
    draws[:, -1] = qualities
    changed = change(torch.from_numpy(crops), torch.from_numpy(draws)).numpy().astype(int)
    for crop, quality, result in zip(crops, qualities, changed, strict=True):
        decoded = slow_jpeg(crop, quality).astype(int)
        lost = np.abs(decoded - crop).mean()
        assert lost > 5
        assert np.abs(decoded - result).mean() < 0.2 * lost, quality  # it rounds in whole numbers


def test_jpeg_takes_its_share_of_crops_and_its_qualities(rng: np.random.Generator) -> None:
    draws = np.stack([Photometric(jpeg=0.5, jpeg_quality=(20, 40)).draw(rng)[-1] for _ in range(300)])
    assert 110 < (draws > 0).sum() < 190
    assert {int(q) for q in draws if q} <= set(range(20, 41))
    with pytest.raises(ValueError, match="put the lower one first"):
        Photometric(jpeg_quality=(50, 20))


def test_the_first_epochs_have_their_own_size(rng: np.random.Generator) -> None:
    crops = np.repeat(rng.integers(0, 256, (4, 64, 1, 3), dtype=np.uint8), 32, axis=2)
    zeros, early = [0] * 4, EarlySize(2, 32, 16)
    loader = TrainingLoader(
        crops,
        zeros,
        zeros,
        zeros,
        Augmentation(0, 0, 0),
        3,
        (9, 9, 9),
        device=torch.device("cpu"),
        early=early,
    )
    small, whole = (next(iter(loader.epoch(epoch, [[0, 1, 2, 3]])))[0].crops for epoch in (2, 3))
    assert small.shape == (4, 32, 16, 3) and torch.equal(whole, torch.from_numpy(crops))
    assert np.abs(small.float().mean((1, 2)).numpy() - crops.mean((1, 2))).max() < 3
    with pytest.raises(RecipeError, match="none at the model's size"):
        load_recipe("bot", ["early_size.epochs=120"])


def test_the_defaults_change_nothing(rng: np.random.Generator) -> None:
    assert not Photometric().changes
    crops = rng.integers(0, 256, (4, 24, 12, 3), dtype=np.uint8)
    draws = np.stack([Photometric().draw(rng) for _ in crops])
    assert np.array_equal(change(torch.from_numpy(crops), torch.from_numpy(draws)).numpy(), crops)


@pytest.mark.parametrize("name", ["exposure", "white_balance", "gamma", "contrast", "saturation", "grey"])
def test_every_setting_changes_colours(name: str, rng: np.random.Generator) -> None:
    settings = Photometric(**{name: 0.9})
    assert settings.changes
    crops = rng.integers(60, 190, (30, 8, 8, 3), dtype=np.uint8)
    draws = np.stack([settings.draw(rng) for _ in crops])
    assert (change(torch.from_numpy(crops), torch.from_numpy(draws)).numpy() != crops).any(
        (1, 2, 3)
    ).sum() > 15


def test_a_run_that_goes_on_in_an_epoch_sees_the_same_colours(rng: np.random.Generator) -> None:
    crops = rng.integers(0, 256, (8, 24, 12, 3), dtype=np.uint8)
    zeros = [0] * 8
    strong = dataclasses.replace(STRONG, jpeg=0.5)
    loader = TrainingLoader(crops, zeros, zeros, zeros, Augmentation(), 3, (9, 9, 9), strong)
    batches = [[0, 1, 2, 3], [4, 5, 6, 7], [1, 3, 5, 7]]
    whole = [shards[0].crops for shards in loader.epoch(2, batches)]
    rest = [shards[0].crops for shards in loader.epoch(2, batches, skip=1)]
    assert len(rest) == 2
    assert all(torch.equal(a, b) for a, b in zip(whole[1:], rest, strict=True))
    plain = TrainingLoader(crops, zeros, zeros, zeros, Augmentation(), 3, (9, 9, 9))
    assert not torch.equal(next(iter(plain.epoch(2, batches)))[0].crops, whole[0])


def test_styles_are_mixed_by_the_formula() -> None:
    torch.manual_seed(0)
    x, share = torch.randn(3, 2, 4, 5), torch.tensor([0.2, 0.5, 1.0]).view(3, 1, 1, 1)
    other = torch.tensor([2, 0, 1])
    mixed = mix(x, other, share)
    for crop in range(3):
        for channel in range(2):
            own, its = x[crop, channel], x[other[crop], channel]
            part = float(share[crop])
            deviation = part * own.std() + (1 - part) * its.std()
            mean = part * own.mean() + (1 - part) * its.mean()
            expected = (own - own.mean()) / own.std() * deviation + mean
            assert torch.allclose(mixed[crop, channel], expected, atol=1e-4)
    assert torch.allclose(mixed[2], x[2], atol=1e-4)  # all of its own style


def test_style_statistics_carry_no_gradient() -> None:
    x = torch.randn(2, 1, 3, 3, requires_grad=True)
    mix(x, torch.tensor([1, 0]), torch.full((2, 1, 1, 1), 0.5)).sum().backward()
    assert x.grad is not None
    ratio = (0.5 * x.std((2, 3)) + 0.5 * x.std((2, 3)).flip(0)) / x.std((2, 3))
    assert torch.allclose(x.grad, ratio[:, :, None, None].expand_as(x), atol=1e-3)


@pytest.mark.parametrize("arch", ["resnet18", "efficientnet-lite0"])
def test_only_training_mixes_and_only_early_stages(arch: str) -> None:
    model = build(ModelSpec(arch, 64, 32, ssl_heads=False))
    seen: list[tuple[int, ...]] = []

    def note(x: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x.shape[2:]))
        return x

    model.trunk.mixer = note
    x = torch.randn(2, 3, 64, 32)
    model.eval()(x)
    assert seen == []
    model.train()(x)
    assert seen == [(16, 8), (8, 4)]


def test_a_chance_of_half_mixes_every_second_batch() -> None:
    torch.manual_seed(1)
    x = torch.randn(8, 2, 3, 3)
    mixer = StyleMixer(MixStyle(0.5))
    assert 60 < sum(not torch.equal(mixer(x), x) for _ in range(200)) < 140


def test_a_recipe_s_mixstyle_reaches_the_trunk_or_is_refused(tmp_path: Path) -> None:
    data: Dataset = draw_dataset(tmp_path / "data", identities=4, cameras=2, images=2)
    small = ["model.height=96", "model.width=48", "batch_identities=2", "batch_crops=2", "mixstyle.chance=1"]
    run = Run(load_recipe("bot-unseen", [*small, "model.arch=efficientnet-lite0"]), data, tmp_path / "a")
    trunk = run.method.pixels.embedder.trunk
    assert isinstance(trunk, EfficientNetTrunk)
    assert isinstance(trunk.mixer, StyleMixer)
    with pytest.raises(RecipeError, match="densenet161 has no stages for MixStyle"):
        Run(load_recipe("bot-unseen", [*small, "model.arch=densenet161"]), data, tmp_path / "b")
