"""A recipe as a page: every key with its value and what it means."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, NamedTuple

import yaml

from training.recipe import Recipe, load_recipe
from training.recipe_files import PAPERS, read_recipe, recipe_paths

_FIELD = re.compile(r"    (?P<name>\w+): [^#]*?(?:=[^#]*)?(?:#\s*(?P<comment>.*))?$")


class Key(NamedTuple):
    """One line of a recipe's page."""

    name: str  # like `optimiser.rate`
    value: str  # as YAML writes it
    comment: str  # of the recipe file, or else of the key itself


def list_recipes() -> list[tuple[str, str]]:
    """Name and first line of every shipped recipe."""
    rows = []
    for name, path in recipe_paths().items():
        read = read_recipe(name)
        rows.append((name, read.values["paper"] if path.parent == PAPERS else read.head))
    return rows


def show_recipe(name: str, settings: list[str] | None = None) -> list[Key]:
    """Every key of a recipe, of sections by its full name. Raises RecipeError as `load_recipe`."""
    recipe = load_recipe(name, settings)
    said = read_recipe(name).comments
    return [
        Key(key, _as_yaml(value), said.get(key) or meaning) for key, value, meaning in _keys(recipe, Recipe)
    ]


def _keys(section: Any, cls: type, prefix: str = "") -> list[tuple[str, Any, str]]:
    meanings = _field_comments(cls)
    keys: list[tuple[str, Any, str]] = []
    for field in dataclasses.fields(section):
        name, value = f"{prefix}{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            keys += _keys(value, type(value), f"{name}.")
        else:
            keys.append((name, value, meanings.get(field.name, "")))
    return keys


def _field_comments(cls: type) -> dict[str, str]:
    """What the comments above and behind a dataclass's fields say, by field."""
    comments: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(cls).splitlines():
        field = _FIELD.match(line)
        if line.startswith("    # "):
            above.append(line.strip("# "))
        elif field is None:
            above = []
        else:
            comments[field["name"]] = " ".join([*above, field["comment"] or ""]).strip()
            above = []
    return comments


def _as_yaml(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()
