"""DukeMTMC-reID (methods B.1), withdrawn by its authors in 2019; read for comparison with old numbers."""

from __future__ import annotations

from pathlib import Path

from training.data.files import unpacked
from training.data.market_style import FOLDERS, read_market_style
from training.data.records import Dataset, one_split

COUNTS = {
    "train ids": 702,
    "train": 16_522,
    "query ids": 702,
    "query": 2_228,
    "gallery ids": 1_110,
    "gallery": 17_661,
}


def read_dukemtmc(root: Path, split: int = 0, counts: dict[str, int] | None = None) -> Dataset:
    """As Market-1501, with 8 cameras; 408 identities of the gallery are distractors."""
    one_split("dukemtmc", split)
    return read_market_style(
        "dukemtmc", unpacked(root, "DukeMTMC-reID", FOLDERS), COUNTS if counts is None else counts
    )
