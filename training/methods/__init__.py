"""Training methods by name: each module holds one readable step."""

from __future__ import annotations

from training.methods.bot import BagOfTricks
from training.methods.dcsd import Dcsd
from training.methods.heads import Heads
from training.methods.m3l import M3L
from training.methods.method import Method
from training.methods.mgn import Mgn
from training.methods.ptl import Ptl
from training.methods.std import Distillation
from training.recipe import Recipe, RecipeError

METHODS: dict[str, type[Method]] = {
    "bot": BagOfTricks,
    "dcsd": Dcsd,
    "heads": Heads,
    "m3l": M3L,
    "mgn": Mgn,
    "ptl": Ptl,
    "std": Distillation,
}


def method_of(recipe: Recipe) -> type[Method]:
    """The recipe's method. Raises RecipeError where there is none of that name."""
    if recipe.method not in METHODS:
        raise RecipeError(f"unknown method {recipe.method!r}; known: {', '.join(METHODS)}")
    return METHODS[recipe.method]
