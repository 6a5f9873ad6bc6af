"""Writes the seeded split files beside this module: `python -m training.data.make_splits`.

The identities are sorted and numbered 0..n-1; numpy's PCG64 with seed 0..9 permutes the numbers, and the
first `test` of them are the test half.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from training.data.splits import FOLDER

# identities, test identities
SIZES = {"cuhk01": (971, 486), "viper": (632, 316), "prid": (200, 100), "ilids": (119, 60)}
DRAWS = 10


def draw(identities: int, test: int, seed: int) -> list[int]:
    """`test` sorted indices out of 0..identities-1."""
    return sorted(int(i) for i in np.random.default_rng(seed).permutation(identities)[:test])


def draw_ilids(seed: int) -> list[list[float]]:
    """Indices of the test identities, each with two shares that draw its query and its gallery image."""
    identities, test = SIZES["ilids"]
    shares = np.random.default_rng((seed, 1)).random((test, 2)).round(4)
    return [[i, float(a), float(b)] for i, (a, b) in zip(draw(identities, test, seed), shares, strict=True)]


def main() -> None:
    """Writes every file."""
    for name, (identities, test) in SIZES.items():
        draws: list[Any]
        if name == "ilids":
            draws = [draw_ilids(seed) for seed in range(DRAWS)]
        else:
            draws = [draw(identities, test, seed) for seed in range(DRAWS)]
        drawn = f"numpy default_rng(seed 0..{DRAWS - 1}).permutation({identities})[:{test}]"
        note = f"{drawn}: indices of the sorted identities"
        (FOLDER / f"{name}.json").write_text(json.dumps({"made_by": note, "test": draws}) + "\n")


if __name__ == "__main__":
    main()
