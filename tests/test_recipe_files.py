"""Recipe files: inheritance, the pages of `resight recipes`, and what a paper's recipe starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from reid.models.build import build
from reid.models.spec import ModelSpec
from resight import app
from training.published_starts import FILES
from training.recipe import Recipe, RecipeError, load_recipe
from training.recipe_files import PAPERS, recipe_paths
from training.recipe_page import show_recipe
from training.start import require_start, start_from

PAPER_RECIPES = sorted(path.stem for path in PAPERS.glob("*.yaml"))


def test_a_recipe_inherits_section_by_section(tmp_path: Path) -> None:
    (tmp_path / "below.yaml").write_text("base: bot\noptimiser: {rate: 0.5, epochs: 7}  # below\n")
    (tmp_path / "mine.yaml").write_text("base: below.yaml\noptimiser:\n  epochs: 9  # mine\n")
    recipe = load_recipe(str(tmp_path / "mine.yaml"), ["seed=3"])
    assert (recipe.optimiser.rate, recipe.optimiser.epochs, recipe.seed) == (0.5, 9, 3)
    assert recipe.losses == load_recipe("bot").losses
    comments = {key.name: key.comment for key in show_recipe(str(tmp_path / "mine.yaml"))}
    assert comments["optimiser.rate"] == "below" and comments["optimiser.epochs"] == "mine"
    assert comments["augment.flip"] == "paper .5, code .5"  # of bot


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("base: nothing\n", "mine.yaml: base: no recipe 'nothing'"),
        ("base: mine.yaml\n", "inherits from itself"),
        ("base: absent.yaml\n", "there is no file"),
        ("base: [bot]\n", "is not the name of a recipe"),
        ("base: bot\noptimiser: {rat: 1}\n", "mine.yaml: optimiser: unknown key 'rat'"),
    ],
)
def test_a_wrong_base_is_refused_by_its_file(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RecipeError, match=sentence):
        load_recipe(str(tmp_path / "mine.yaml"))


def test_recipes_are_listed_and_shown_with_every_key_and_comment() -> None:
    listed = CliRunner().invoke(app, ["recipes"], env={"COLUMNS": "200"}).output
    assert all(name in listed for name in recipe_paths())
    shown = CliRunner().invoke(app, ["recipes", "show", "bot-table1-warmup"])
    assert shown.exit_code == 0
    assert "optimiser.warmup_factor: 0.01" in shown.output and "# section 3.1" in shown.output
    assert "augment.pad: 10" in shown.output and "# section 2, step 3" in shown.output  # inherited
    keys = [key.name for key in show_recipe("bot-table1-warmup")]
    recipe = load_recipe("bot-table1-warmup")
    assert all(recipe.value(key) is not None for key in keys) and "mixstyle.chance" in keys
    assert len(keys) == len(set(keys)) > 60
    wrong = CliRunner().invoke(app, ["recipes", "show", "bot-tabel1"])
    assert wrong.exit_code == 1 and "no recipe 'bot-tabel1'" in wrong.output


@pytest.mark.parametrize("name", PAPER_RECIPES)
def test_a_papers_recipe_names_its_table_cites_its_values_and_has_no_heads_but_bntas(name: str) -> None:
    recipe = load_recipe(name)
    paper, _, table = name.partition("-table")
    assert recipe.paper.lower().startswith(paper) and " Table " in recipe.paper and table
    cited = {key.name: key.comment for key in show_recipe(name)}
    for key in ("optimiser.rate", "optimiser.epochs", "optimiser.milestones", "batch_identities"):
        assert cited[key].startswith(("section ", "code", "not said", "Table ")), (
            key,
            cited[key],
        )
    assert recipe.model.ssl_heads == (name == "bnta-table2")
    if not name.startswith("ptl-table7"):
        assert recipe.start
    outs = {file.command.split()[-1] for file in FILES}
    assert recipe.start in {"", "runs/densenet161-market", *outs}


def test_a_papers_recipe_without_its_weights_is_refused_with_the_command(tmp_path: Path) -> None:
    words = ["train", "bot-table1-neck", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1 and not (tmp_path / "run").exists()
    for part in (
        "BoT Table 1, + BNNeck",
        "resnet50-0676ba61.pth",
        "resight weights convert",
        "--from-scratch",
    ):
        assert part in refused.output.replace("\n", " ")
    scratch = CliRunner().invoke(app, [*words, "--from-scratch"])
    assert "from scratch: no reproduction of BoT Table 1, + BNNeck" in scratch.output
    assert "market1501" in scratch.output  # the data is what is missing now
    require_start(load_recipe("bot"), tmp_path)  # a recipe of ours starts from what it says


_TRUNKS = {"resnet50.safetensors": "resnet50", "resnet50-ibn.safetensors": "resnet50-ibn"}


@pytest.mark.parametrize("name", ["m3l-table2-ibn", "dcsd-table2-agw-dcsd", "ptl-table2-mgn-ptl"])
def test_a_papers_recipe_starts_from_converted_weights(name: str, tmp_path: Path) -> None:
    """Random weights under the names of the published file, in the network of the recipe."""
    recipe = load_recipe(name)
    spec = ModelSpec(_TRUNKS[recipe.start], neck=False, ssl_heads=False)
    state = build(spec).trunk.state_dict()
    path = tmp_path / recipe.start
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    embedder = build(recipe.model)
    left = start_from(embedder, str(path))
    assert torch.equal(embedder.trunk.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    assert not any(key.endswith("layer2.1.conv3.weight") for key in left)
    _taken_or_left(recipe, left)


def _taken_or_left(recipe: Recipe, left: tuple[str, ...]) -> None:
    """IBN's norms are taken from a file that has them, DCSD's filters cannot be in any."""
    assert any("conv2" in key for key in left) == recipe.model.arch.endswith("dcsd")
    assert not any(".bn1." in key for key in left)
