"""Writes the seeded split files beside this module: `python -m training.data.make_splits`.

numpy's PCG64 with seed 0..9 permutes the sorted identities; the first `test` of them are the test half. Published
splits of these sets are unseeded draws (methods B.2), so ours are ours and say so.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def seeded_splits(identities: int, test: int, draws: int = 10) -> list[list[int]]:
    """`draws` sorted lists of `test` identities out of 1..identities."""
    pids = np.arange(1, identities + 1)
    return [sorted(int(p) for p in np.random.default_rng(seed).permutation(pids)[:test]) for seed in range(draws)]


def main() -> None:
    """Writes cuhk01.json."""
    folder = Path(__file__).parent / "splits"
    note = "numpy default_rng(seed 0..9).permutation(1..971)[:486]; 485 train, 486 test identities"
    (folder / "cuhk01.json").write_text(json.dumps({"made_by": note, "test_pids": seeded_splits(971, 486)}) + "\n")


if __name__ == "__main__":
    main()
