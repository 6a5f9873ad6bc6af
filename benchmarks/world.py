"""What the synthetic world has to be before anybody trains on it: colour alone must not solve it, backgrounds must say nothing.

python -m benchmarks.world colours --data WORLD     rank-1 of an HSV histogram matcher across cameras, a site a row
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from training.data import read_dataset
from training.evaluate import evaluate, percentages


def histograms(crops: np.ndarray) -> np.ndarray:
    """float32 [B,1024]: HSV histograms (16 x 4 x 4) of four stripes of each crop uint8 [B,H,W,3]; square roots, unit length."""
    return np.stack([_histogram(crop) for crop in crops])


def _histogram(crop: np.ndarray) -> np.ndarray:
    pixels = np.asarray(Image.fromarray(crop).convert("HSV"), int)
    bins = pixels[..., 0] // 16 * 16 + pixels[..., 1] // 64 * 4 + pixels[..., 2] // 64
    edge = crop.shape[1] // 5
    parts = [np.bincount(stripe.ravel(), minlength=256) for stripe in np.array_split(bins[:, edge:-edge], 4)]
    found = np.sqrt(np.concatenate(parts).astype(np.float32))
    return found / np.linalg.norm(found)


def colours(data: Path) -> dict[str, dict[str, float]]:
    """How far colours alone get at each site."""
    sites = sorted(data.glob("site-*"))
    return {site.name: percentages(evaluate(histograms, read_dataset("world", site), (128, 64))) for site in sites}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("colours",))
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    print(json.dumps(colours(given.data), indent=1))


if __name__ == "__main__":
    main()
