"""PTL: oracles 15 and 16 of methods A.10, the state's policy, resume."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from benchmarks.network_cost import cost
from reid.models.build import build
from reid.models.imagenet import load_imagenet
from reid.models.ptl import BConvCell, reset_states
from reid.models.spec import ModelSpec
from training.methods.ptl import Ptl
from training.recipe import RecipeError, load_recipe


def test_a_cell_by_hand() -> None:
    cell = BConvCell(2, 3, 1).train()
    for parameter in cell.parameters():
        torch.nn.init.zeros_(parameter)
    cell.state = torch.ones(2, 3, 4, 4)
    y = cell(torch.randn(2, 2, 4, 4))  # every gate is 1/2, the candidate 0
    assert torch.allclose(cell.state, torch.full((2, 3, 4, 4), 0.5))
    assert torch.allclose(y, 0.5 * torch.tanh(torch.tensor(0.5)).expand_as(y))


def test_a_cell_by_its_formula() -> None:
    torch.manual_seed(0)
    cell, x = BConvCell(2, 3, 2).train(), torch.randn(2, 2, 5, 5)
    before = torch.randn(2, 3, 3, 3)
    cell.state = before
    y = cell(x)
    i, f, o, c = cell.gates(x).chunk(4, 1)
    expected = f.sigmoid() * before + i.sigmoid() * c.tanh()
    assert torch.allclose(cell.state, expected) and torch.allclose(y, o.sigmoid() * expected.tanh())
    assert not cell.state.requires_grad


@pytest.mark.parametrize("size", [2, 6])
def test_a_batch_of_another_size_takes_what_fits(size: int) -> None:
    torch.manual_seed(0)
    cell = BConvCell(2, 3, 1).train()
    cell(torch.randn(4, 2, 5, 5))
    before, x = cell.state.clone(), torch.randn(size, 2, 5, 5)
    cell(x)
    _, f, _, _ = cell.gates(x).chunk(4, 1)
    i, _, _, c = cell.gates(x).chunk(4, 1)
    carried = torch.zeros(size, 3, 5, 5)
    carried[: min(4, size)] = before[: min(4, size)]
    assert torch.allclose(cell.state, f.sigmoid() * carried + i.sigmoid() * c.tanh(), atol=1e-6)
    cell(torch.randn(4, 2, 7, 5))  # another map begins at zero
    assert cell.state.shape == (4, 3, 7, 5)
    reset_states(cell)
    assert len(cell.state) == 0 and "state" not in cell.state_dict()


def test_a_crop_s_embedding_depends_on_it_alone() -> None:
    torch.manual_seed(0)
    model, x = build(ModelSpec("resnet50-ptl", 64, 32, ssl_heads=False)), torch.randn(4, 3, 64, 32)
    model.train()(x)
    model.eval()
    with torch.no_grad():
        whole = model(x)
        assert torch.equal(whole, model(x))
        assert torch.allclose(whole.flip(0), model(x.flip(0)), atol=1e-6)
        assert torch.allclose(whole[1:2], model(x[1:2]), atol=1e-5)


@pytest.mark.parametrize("arch", ["resnet50", "densenet161"])
def test_a_plain_network_s_feature_is_its_last_map_through_a_1x1_convolution(arch: str) -> None:
    torch.manual_seed(0)
    spec = ModelSpec(arch, 64, 32, neck=False, ssl_heads=False)
    plain = build(spec).eval()
    layered = build(dataclasses.replace(spec, feature_layer=True)).eval()
    left = load_imagenet(layered.trunk, plain.trunk.state_dict())
    assert set(left) == {"stream.out.weight", "stream.out.bias"}  # what ImageNet's file does not have
    x = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        expected = layered.trunk.stream.out(plain.trunk(x)).mean((2, 3))
        assert torch.allclose(layered.retrieval(x), expected, atol=1e-5)


def test_the_classifier_has_three_layers_for_people_and_two_for_images() -> None:
    widths = {
        "ptl": [2048, 1024, 1024, 7],
        "ptl-cifar": [2048, 1024, 7],
        "ptl-table1-resnet50": [2048, 128, 128, 7],
        "ptl-table7-densenet100": [342, 7],
        "ptl-table7-densenet100-ptl-v2": [342, 1024, 7],
    }
    for name, expected in widths.items():
        layers = [m for m in Ptl.make_classifier(load_recipe(name), 7).modules() if isinstance(m, nn.Linear)]
        assert [layers[0].in_features, *(m.out_features for m in layers)] == expected, name
    with pytest.raises(RecipeError, match="hidden"):
        load_recipe("ptl", ["ptl.hidden=[0]"])


def test_the_papers_networks_have_its_numbers_of_parameters() -> None:
    printed = {"resnet50": 28, "densenet161": 32, "densenet161-ptl": 42}  # Table I, in millions
    for arch, millions in printed.items():
        count = cost(arch, 256, 128, 1041, [128, 128], feature_layer=True)[0]
        assert round(count / 1e6) == millions, arch


def test_an_unknown_optimiser_is_refused() -> None:
    with pytest.raises(RecipeError, match="adam, amsgrad, sgd"):
        load_recipe("ptl", ["optimiser.kind=lion"])
