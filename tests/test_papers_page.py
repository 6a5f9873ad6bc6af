"""docs/papers.md: every command of it starts, and every recipe of a table stands on it."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from resight import app
from training.data import sources_of
from training.published_starts import FILES
from training.recipe import load_recipe
from training.recipe_files import PAPERS, recipe_paths

PAGE = (Path(__file__).parent.parent / "docs/papers.md").read_text()
COMMANDS = re.findall(r"^    ((?:resight|python -m) .*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("resight")])
def test_a_command_has_its_options_its_recipe_and_its_datasets(line: str) -> None:
    _, verb, *words = shlex.split(line)
    context = typer.main.get_group(app).commands[verb].make_context(verb, words)
    named = [context.params.get("dataset") or ""]
    if verb == "train":
        recipe = load_recipe(context.params["recipe"], context.params["settings"])
        assert recipe.paper or context.params["recipe"] == "bot-small"  # of the learning curve
        named = recipe.dataset.split(">")
    for dataset in filter(None, named):
        for source in sources_of(dataset):
            assert re.fullmatch(r"[\w-]+(@\d)?(:[\w-]+)?", source), f"{source} in {line}"


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("python")])
def test_a_benchmark_takes_its_words(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line)[2:]
    module = importlib.import_module(words[0])
    if not words[0].startswith("benchmarks."):
        assert (module.__doc__ or "").count(f"python -m {words[0]}") == 1
        return
    monkeypatch.setattr(sys, "argv", [*words, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0


def test_the_page_has_every_recipe_of_a_table_and_no_other() -> None:
    recipes = {path.stem for path in PAPERS.glob("*.yaml")}
    named = set(re.findall(r"\b((?:bot|m3l|dcsd|bnta|ptl)-table\w+[\w-]*)", PAGE))
    assert named <= recipes, sorted(named - recipes)
    assert recipes <= named, sorted(recipes - named)


def test_what_a_table_starts_from_is_a_file_that_the_weights_page_makes_or_a_run() -> None:
    made = {file.command.split()[-1] for file in FILES} | set(re.findall(r"--out (runs/\S+)", PAGE))
    for name, path in recipe_paths().items():
        recipe = load_recipe(name)
        if path.parent == PAPERS and recipe.start:
            assert recipe.start in made, name
            assert not recipe.distill.teacher or recipe.distill.teacher in made, name
