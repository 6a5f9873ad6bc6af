"""Market-1501 (methods B.1): pid -1 is junk and dropped, pid 0 is a distractor and stays in the gallery."""

from __future__ import annotations

from pathlib import Path

from training.data.files import unpacked
from training.data.market_style import FOLDERS, read_market_style
from training.data.records import Dataset, one_split

COUNTS = {"train ids": 751, "train": 12_936, "query ids": 750, "query": 3_368, "gallery": 15_913}


def read_market1501(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """Reads `root`, or the release folder inside it; tests pass the `counts` of their small copies."""
    one_split("market1501", split)
    return read_market_style(
        "market1501", unpacked(root, "Market-1501-v15.09.15", FOLDERS), COUNTS if counts is None else counts
    )
