"""A site of the synthetic world (`resight synth`): Market-1501's layout, its counts in factors.json."""

from __future__ import annotations

import json
from pathlib import Path

from training.data.files import require_folder
from training.data.market_style import FOLDERS, read_market_style
from training.data.records import Dataset, DatasetError, one_split

_PARTS = ("train", "query", "gallery")  # of FOLDERS


def read_world(root: Path, split: int = 0) -> Dataset:
    """Reads one site. Raises DatasetError for a site that has not been rendered completely."""
    one_split("world", split)
    planned = require_folder(root, "world") / "factors.json"
    if not planned.is_file():
        raise DatasetError(
            f"world: {root} holds no factors.json; give a site's folder, like world:site-0 of a folder made "
            f"by resight synth"
        )
    crops = json.loads(planned.read_text())["crops"]
    counts = {
        part: sum(path.startswith(folder + "/") for path in crops)
        for part, folder in zip(_PARTS, FOLDERS, strict=True)
    }
    try:
        return read_market_style(f"world:{root.name}", root, counts)
    except DatasetError as error:
        raise DatasetError(f"{error}; run resight synth again, it resumes where it stopped") from None
