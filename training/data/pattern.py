"""People's own data in any layout: a regular expression says what stands where in the paths.

--dataset pattern:FOLDER --pattern '(?P<part>train|query|gallery)/(?P<camera>[^/]+)/(?P<person>[^_]+)_'
"""

from __future__ import annotations

import re
from pathlib import Path

from training.data.files import require_folder, walk_images
from training.data.labelled import FIELDS, labelled_crop, numbered
from training.data.records import Dataset, DatasetError, one_split

_GROUPS = [name for name in FIELDS if name != "path"]


def read_pattern(root: Path, pattern: str, split: int = 0) -> Dataset:
    """Reads every image under `root`, its path from there on searched for the pattern.

    The groups mean what the columns of a list mean (`listed.py`); without `part` all is to train on. Raises
    DatasetError for an expression that is none or names no person, and for images that it does not fit.
    """
    one_split("pattern", split)
    expression = _compiled(pattern)
    crops, others = [], []
    for path in walk_images(require_folder(root, "pattern")):
        name = path.relative_to(root).as_posix()
        match = expression.search(name)
        if match is None:
            others.append(name)
            continue
        crops.append(labelled_crop(path, match.groupdict(), f"pattern: {name}"))
    if others or not crops:
        misfit = f"such as {others[0]}" if others else f"since there are none under {root}"
        raise DatasetError(f"pattern: {pattern} does not fit {len(others) or 'any'} images, {misfit}")
    first = crops[0]
    name = first.path.relative_to(root).as_posix()
    note = f"paths read by {pattern}: {name} is person {first.person or 'nobody'}, camera {first.camera}"
    return numbered("pattern", crops, [note])


def _compiled(pattern: str) -> re.Pattern[str]:
    example = "like (?P<camera>[^/]+)/(?P<person>[^_]+)_"
    if not pattern:
        raise DatasetError(f"pattern: --pattern EXPRESSION is missing, {example}")
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DatasetError(f"pattern: {pattern} is not a regular expression: {error}") from error
    fields = [FIELDS.get(name, "") for name in expression.groupindex]
    unknown = [name for name in expression.groupindex if name not in _GROUPS]
    if unknown or "person" not in fields or len(set(fields)) < len(fields):
        wrong = f"has a group {unknown[0]!r}" if unknown else "needs each group once, and person among them"
        raise DatasetError(f"pattern: {pattern} {wrong}; groups are named {', '.join(_GROUPS)}, {example}")
    return expression
