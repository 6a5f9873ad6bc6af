"""Recipe files: where they are, what `base` inherits, and the comments that stand beside their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

RECIPES = Path(__file__).parent / "recipes"
PAPERS = RECIPES / "papers"  # one recipe for each published row, named after paper and table


# in C where libyaml is there: ten times as fast
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RecipeError(ValueError):
    """A recipe with an unknown key or a value of the wrong kind; names the key and the file."""


class RecipeFile(NamedTuple):
    """What a recipe file says, with what it inherits."""

    path: Path
    head: str  # its first comment line
    values: dict[Any, Any]  # nested sections
    comments: dict[str, str]  # by key, like `optimiser.rate`


def recipe_paths() -> dict[str, Path]:
    """Every shipped recipe by name: ours first, then those of the papers' tables."""
    return {path.stem: path for folder in (RECIPES, PAPERS) for path in sorted(folder.glob("*.yaml"))}


def read_recipe(name: str) -> RecipeFile:
    """A recipe by name or by path, over the recipe that its `base` names.

    Raises RecipeError for one that does not exist, is no YAML, or is its own base.
    """
    return _read(_find(name, ""), ())


def _find(name: str, where: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
    else:
        path = recipe_paths().get(name, RECIPES / f"{name}.yaml")
    if not path.is_file():
        raise RecipeError(
            f"{where}no recipe {name!r}; known recipes: {', '.join(recipe_paths())}; or give the path of a "
            f".yaml file"
        )
    return path


def _read(path: Path, inheriting: tuple[Path, ...]) -> RecipeFile:
    if path.resolve() in inheriting:
        raise RecipeError(f"{path}: base: the recipe inherits from itself; name another one")
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
        comments = _comments(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no YAML: {in_one_line(error)}") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: expected a section of keys, got {values!r}")
    head = next((line[1:].strip() for line in text.splitlines() if line.startswith("#")), "")
    base = values.pop("base", None)
    if base is None:
        return RecipeFile(path, head, values, comments)
    if not isinstance(base, str):
        raise RecipeError(f"{path}: base: {base!r} is not the name of a recipe")
    beside = path.parent / base
    found = beside if base.endswith((".yaml", ".yml")) else _find(base, f"{path}: base: ")
    if not found.is_file():
        raise RecipeError(f"{path}: base: there is no file {found}")
    below = _read(found, (*inheriting, path.resolve()))
    changed = {key: comments.get(key, "") for key in _keys(values)}
    return RecipeFile(path, head, _merged(below.values, values), below.comments | changed)


def _merged(base: dict[Any, Any], over: dict[Any, Any]) -> dict[Any, Any]:
    """`over` on top of `base`, section by section."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _keys(values: dict[Any, Any], prefix: str = "") -> list[str]:
    """`optimiser.rate` and the like, of every value that is no section."""
    keys = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        keys += _keys(value, f"{name}.") if isinstance(value, dict) else [name]
    return keys


def _comments(text: str) -> dict[str, str]:
    """What stands behind a # in the line where a value ends, by the value's key."""
    lines = text.splitlines()
    comments: dict[str, str] = {}
    node = yaml.compose(text, _Loader)
    waiting = [("", node)] if isinstance(node, yaml.MappingNode) else []
    ends: dict[int, int] = {}  # of each line, the column behind its last value
    places: list[tuple[str, int]] = []
    while waiting:
        prefix, section = waiting.pop()
        for key, value in section.value:
            name = f"{prefix}{key.value}"
            if isinstance(value, yaml.MappingNode):
                waiting.append((f"{name}.", value))
                if not value.flow_style:
                    continue
            line = value.end_mark.line
            ends[line] = max(ends.get(line, 0), value.end_mark.column)
            places.append((name, line))
    for name, line in places:
        behind = lines[line][ends[line] :] if line < len(lines) else ""
        comments[name] = behind.partition("#")[2].strip()
    return comments


def in_one_line(error: Exception) -> str:
    """What PyYAML says, in one line."""
    return " ".join(str(error).split())
