"""recipes: which there are, and what every key of one says."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from cli.output import fail, say, table


def recipes_list(context: typer.Context) -> None:
    """Recipes of trainings: alone, all of them, the papers' tables last."""
    if context.invoked_subcommand is not None:
        return
    from training.recipe_page import list_recipes

    table("recipes, for resight train", ("recipe", "what"), list_recipes())


def recipes_show(
    name: Annotated[str, typer.Argument(help="a recipe's name, or the path of a .yaml file")],
    settings: Annotated[
        Optional[list[str]], typer.Option("--set", help="key=value over the recipe, like optimiser.epochs=60")
    ] = None,
) -> None:
    """Print every key of a recipe with its value and its comment, those that it inherits too."""
    from training.recipe_files import RecipeError
    from training.recipe_page import show_recipe

    try:
        keys = show_recipe(name, settings)
    except RecipeError as error:
        fail(str(error))
    wide = max(len(f"{key.name}: {key.value}") for key in keys)
    wide = min(wide, 44)
    for key in keys:
        line = f"{key.name}: {key.value}"
        say(f"{line:{wide}}  # {key.comment}" if key.comment else line)
