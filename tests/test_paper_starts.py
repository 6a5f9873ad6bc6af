"""Recipes of the papers' tables that start from weights take two steps from a converted file.

The weights are random, the names those of the published files; networks of thin layers, small crops. Of the
recipes with the same start, network and method one is taken here; `benchmarks.paper_starts` takes all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.paper_starts import begin, make_starts, recipes
from training.recipe import Recipe, load_recipe


def _kind(recipe: Recipe) -> tuple[str, str, str]:
    return recipe.start, recipe.model.arch, recipe.method


ONE_OF_EACH = {_kind(load_recipe(name)): name for name in recipes()}
SMALL = ["model.height=96", "model.width=32", "precision=32-true"]


@pytest.fixture(scope="module")
def starts(thin_networks: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converted files."""
    folder = tmp_path_factory.mktemp("starts")
    make_starts(folder)
    return folder


@pytest.mark.parametrize("name", ONE_OF_EACH.values())
def test_a_papers_recipe_takes_two_steps_from_a_published_file(
    name: str, starts: Path, tmp_path: Path
) -> None:
    begun = begin(name, starts, tmp_path, SMALL)
    # SGD at the paper's rate moves random weights far in two steps (0.82); unrelated ones have about 0
    assert begun.same > 0.5, "the run did not begin with the weights of its start"
    assert not any(tmp_path.iterdir())
