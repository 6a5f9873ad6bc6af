"""Every recipe of a paper's table that starts from weights takes two steps from a converted file.

The weights are random, the names those of the published files; networks of thin layers, small crops.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.paper_starts import begin, make_starts, recipes

SMALL = ["model.height=96", "model.width=32", "precision=32-true"]


@pytest.fixture(scope="module")
def starts(thin_networks: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converted files."""
    folder = tmp_path_factory.mktemp("starts")
    make_starts(folder)
    return folder


@pytest.mark.parametrize("name", recipes())
def test_a_papers_recipe_takes_two_steps_from_a_published_file(
    name: str, starts: Path, tmp_path: Path
) -> None:
    begun = begin(name, starts, tmp_path, SMALL)
    assert begun.same > 0.9, "the run did not begin with the weights of its start"
    assert not any(tmp_path.iterdir())
