"""Gradient checkpointing changes no number: gradients and statistics of every method, with and without."""

import pytest
import torch

from reid.models.build import build
from tests.test_shards import TALL, TINY
from training.data.loader import Batch
from training.methods import METHODS
from training.recipe import load_recipe

pytestmark = pytest.mark.usefixtures("thin_networks")
RECIPES = {
    "bot-unseen": TALL,
    "m3l": [*TALL, "model.ssl_heads=false"],  # its copy runs with other parameters than the module holds
    "dcsd": [*TINY, "model.ssl_heads=false"],  # hooks see the second computation too
    "snr": [*TINY, "model.ssl_heads=false"],
    "ptl-densenet161": [*TINY, "model.ssl_heads=false"],
    "mgn": [*TALL, "model.arch=mgn"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_changes(name: str) -> None:
    recipe = load_recipe(name, RECIPES[name])
    labels = torch.arange(4).repeat_interleave(2)
    batch = Batch(
        torch.randint(0, 255, (8, recipe.model.height, recipe.model.width, 3)).byte(),
        labels,
        labels % 2,
        labels // 2,
        torch.arange(8),
    )
    found = []
    for recompute in (False, True):
        torch.manual_seed(1)
        method = METHODS[recipe.method](recipe, build(recipe.model), [2, 2], 2).train()
        method.pixels.embedder.trunk.recompute = recompute
        method.optimisers()
        torch.stack(list(method(batch).values())).sum().backward()
        gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
        found.append(
            (gradients, {n: b for n, b in method.state_dict().items() if "running" in n or "tracked" in n})
        )
    (plain, statistics), (again, statistics_again) = found
    assert plain.keys() == again.keys()
    assert all(torch.allclose(plain[n], again[n], rtol=1e-3, atol=1e-6) for n in plain), max(
        ((plain[n] - again[n]).abs().max().item(), n) for n in plain
    )
    assert all(torch.equal(statistics[n], statistics_again[n]) for n in statistics)
