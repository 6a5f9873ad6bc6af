"""Batches without two identities: what they train with, and which losses refuse them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reid.models.build import Features, build
from reid.models.mgn import FEATURES, WIDTH
from training import losses
from training.data.loader import Batch
from training.data.records import join
from training.loop import Run
from training.methods.mgn import Mgn
from training.recipe import RecipeError, load_recipe
from training.synthetic.drawn import draw_sites

TINY = ["precision=32-true", "model.arch=resnet18", "model.height=64", "model.width=32"]
ALONE = [*TINY, "model.ssl_heads=false", "batch_identities=1", "batch_crops=2", "losses.triplet=0"]


@pytest.fixture
def no_triplets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A triplet loss that must not be computed."""

    def computed(*_: object) -> None:
        raise AssertionError("a triplet loss was computed")

    monkeypatch.setattr(losses, "batch_hard_triplet", computed)
    monkeypatch.setattr(losses, "weighted_triplet", computed)


@pytest.mark.parametrize("name", ["bot", "m3l-baseline"])
def test_without_a_triplet_loss_a_batch_may_hold_one_identity(
    name: str, tmp_path: Path, no_triplets: None
) -> None:
    dataset = join(draw_sites(tmp_path / "sites", 2, identities=2, cameras=2, images=2))
    Run(load_recipe(name, ALONE), dataset, tmp_path / "run").fit(max_steps=1)
    assert "triplet" not in (tmp_path / "run" / "log.csv").read_text().splitlines()[0]


def test_mgn_computes_no_triplet_either(no_triplets: None) -> None:
    recipe = load_recipe("mgn", ["losses.triplet=0", "batch_identities=1"])
    method = Mgn(recipe, build(recipe.model), [2], 1)
    features = torch.randn(2, FEATURES * WIDTH)
    labels = torch.zeros(2, dtype=torch.int64)
    batch = Batch(torch.zeros(2, 1, 1, 3), labels, labels, labels, labels)
    assert set(method.losses(Features(features, features, None, None), batch)) == {"identity"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["batch_identities=1"], "a triplet loss needs two identities of two crops a batch, not 1 x 4"),
        (
            ["model.arch=resnet50-snr", "losses.triplet=0", "batch_identities=1"],
            r"a restitution loss needs two identities .* losses.restitution to \[0, 0, 0, 0\]",
        ),
        (
            ["losses.triplet=0", "batch_identities=1", "batch_crops=1"],
            "a batch of 1 x 1 is one crop, of which BatchNorm has no statistics",
        ),
    ],
)
def test_a_batch_without_what_its_losses_compare_is_refused(settings: list[str], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        load_recipe("bot", settings)
