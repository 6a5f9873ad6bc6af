"""Seeded splits of the small datasets, shipped as JSON; the literature's draws are unseeded (methods B.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.data.records import DatasetError

FOLDER = Path(__file__).parent / "splits"


def read_split(name: str, split: int) -> list[Any]:
    """One draw of a dataset's file. Raises DatasetError for a number that does not exist."""
    draws = json.loads((FOLDER / f"{name}.json").read_text())["test"]
    if not 0 <= split < len(draws):
        raise DatasetError(f"{name} has splits 0..{len(draws) - 1}, not {split}")
    return draws[split]
