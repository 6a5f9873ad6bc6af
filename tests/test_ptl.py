"""PTL: oracles 15 and 16 of methods A.10, the state's policy, resume."""

from __future__ import annotations

import pytest
import torch

from reid.models.build import build
from reid.models.ptl import BConvCell, reset_states
from reid.models.spec import ModelSpec
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


def test_an_unknown_optimiser_is_refused() -> None:
    with pytest.raises(RecipeError, match="adam, amsgrad, sgd"):
        load_recipe("ptl", ["optimiser.kind=lion"])
