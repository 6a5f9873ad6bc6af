"""PTL's Figure 3: losses around a classifier's weights, by hand on small networks and once as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from reid.models.build import build
from reid.models.spec import ModelSpec
from training.data import read_dataset
from training.loop import Run
from training.recipe import load_recipe
from training.surface_figure import Classifying, Surface, direction, surface, surface_figure
from training.visualize import Picture, draw


class Shades(nn.Module):
    """uint8 [B,H,W,3] -> logits [B,2] by one linear layer over the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.linear(crops.float().mean((1, 2)) / 255)


def test_a_direction_is_as_long_as_the_weights_filter_by_filter() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight[1] *= 7
    drawn = direction(model, torch.Generator().manual_seed(0))
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            assert not drawn[name].any(), name
        else:
            assert torch.allclose(drawn[name].flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1))
            assert not torch.allclose(drawn[name], weight)


def test_a_surface_is_the_loss_of_the_moved_weights_by_a_plain_loop() -> None:
    torch.manual_seed(0)
    model = Shades().eval()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    crops = np.random.default_rng(0).integers(0, 255, (300, 4, 4, 3), np.uint8)  # more than one batch
    labels = np.arange(300) % 2
    drawn = surface(model, crops, labels, 3, seed=5)
    assert drawn.steps.tolist() == [-1, 0, 1] and drawn.losses.shape == (3, 3)
    generator = torch.Generator().manual_seed(5)
    first, second = direction(model, generator), direction(model, generator)
    for row, up in enumerate(drawn.steps):
        for column, along in enumerate(drawn.steps):
            moved = Shades()
            moved.load_state_dict({n: p + along * first[n] + up * second[n] for n, p in before.items()})
            expected = F.cross_entropy(moved(torch.from_numpy(crops)), torch.from_numpy(labels)).detach()
            assert drawn.losses[row, column] == pytest.approx(float(expected), abs=1e-5)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    with pytest.raises(ValueError, match="4 points a side has no middle; choose an odd number"):
        surface(model, crops, labels, 4, seed=5)


def test_what_classifies_is_the_whole_network() -> None:
    embedder = build(ModelSpec("resnet18", 32, 32, neck=False, ssl_heads=False)).eval()
    crops = torch.randint(0, 255, (2, 32, 32, 3), dtype=torch.uint8)
    model = Classifying(embedder, nn.Linear(512, 3)).eval()
    feature = embedder.retrieval(model.pixels.normalise(crops))
    assert torch.allclose(model(crops), model.classifier(feature))
    assert set(direction(model, torch.Generator())) == {name for name, _ in model.named_parameters()}


def test_surfaces_are_drawn_with_the_same_levels() -> None:
    steps = np.linspace(-1, 1, 5)
    bowl = np.add.outer(steps**2, steps**2)
    axes = surface_figure({"flat": Surface(steps, bowl), "steep": Surface(steps, 3 * bowl)}).axes
    levels = [a.collections[0].levels.tolist() for a in axes]
    assert levels[0] == levels[1] and max(levels[0]) == 2
    assert [a.get_title() for a in axes] == [
        "flat: loss 0.000 in the middle",
        "steep: loss 0.000 in the middle",
    ]


def test_the_surfaces_of_two_runs_are_a_picture(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name, shade in (("dark", 10), ("light", 240)):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), (shade,) * 3).save(tmp_path / part / name / "0.png")
    settings = ["model.arch=resnet18", "precision=32-true", "batch_identities=2"]
    for name in ("densenet100", "densenet100-ptl"):
        run = Run(
            load_recipe(f"ptl-table7-{name}", settings),
            read_dataset("classes", tmp_path),
            tmp_path / name,
            device="cpu",
        )
        run.save()
    runs, out = [tmp_path / "densenet100", tmp_path / "densenet100-ptl"], tmp_path / "3.png"
    draw(Picture("surface", runs, "classes", tmp_path, 0, 0, 0, 2, 0, "cpu", points=3), out)
    with Image.open(out) as picture:
        assert picture.width > picture.height > 300
