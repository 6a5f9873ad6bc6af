"""What tells rendered crops from real ones: a classifier on each kind of sign, and the signs it goes by.

python -m benchmarks.real_or_rendered --data ROOT --worlds WORLD [WORLD...]

ROOT holds Market-1501, of which only `bounding_box_train` is read. Of each kind of sign, and of all together,
a logistic regression is trained on some people and sites and judged on others; printed is the area under its
curve in percent: 50 is chance, 100 tells every pair of crops apart. `embedding` is the shipped demo's, which
also sees what the signs do not name. Below stand the signs whose means differ most, in standard deviations of
real crops. Several worlds are compared with the same real crops, one after the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.serving import DEMO
from reid.bundle import Bundle
from reid.engines import choose_engine
from training.data import read_dataset
from training.data.loader import load_crops
from training.data.records import Record

SIZE = (128, 64)
_LUMA = np.array([0.299, 0.587, 0.114])
_PARTS = {"person": np.arange(16, 48), "background": np.array([*range(10), *range(54, 64)])}  # columns
_FOLDS = 5
Signs = dict[str, float]


def brightness(crop: np.ndarray) -> Signs:
    """Grey values of a crop uint8 [H,W,3], or of some of its columns."""
    grey = crop @ _LUMA / 255
    values = {f"grey, {p} % darker": float(np.percentile(grey, p)) for p in (2, 25, 50, 75, 98)}
    return values | {"contrast": float(grey.std()), "top against bottom": float(_halves(grey))}


def _halves(grey: np.ndarray) -> float:
    middle = len(grey) // 2
    return float(grey[:middle].mean() - grey[middle:].mean())


def colour(crop: np.ndarray) -> Signs:
    """How much colour there is and which; the light's."""
    hsv = np.asarray(Image.fromarray(np.ascontiguousarray(crop)).convert("HSV"), float) / 255
    saturation = hsv[..., 1]
    red, green, blue = (crop[..., c].mean() / 255 for c in range(3))
    values = {f"saturation, {p} % paler": float(np.percentile(saturation, p)) for p in (25, 50, 75, 95)}
    vivid = saturation > 0.25
    hues = np.bincount((hsv[..., 0][vivid] * 6).astype(int) % 6, minlength=6) / max(1, vivid.sum())
    names = ("red", "yellow", "green", "cyan", "blue", "violet")
    values |= {f"share of {name}": float(share) for name, share in zip(names, hues, strict=True)}
    return values | {"red against green": red - green, "blue against green": blue - green}


def sharpness(crop: np.ndarray) -> Signs:
    """Detail by its size, and its direction; noise, and the edges of JPEG's blocks."""
    grey = crop @ _LUMA / 255
    smooth = {s: gaussian_filter(grey, s) for s in (0.7, 1.4, 2.8, 5.6)}
    bands = [grey, *smooth.values()]
    values = {
        f"detail of {name}": float(np.log((fine - coarse).std() + 1e-4))
        for name, fine, coarse in zip(
            ("1 pixel", "2 pixels", "4 pixels", "8 pixels"), bands, bands[1:], strict=False
        )
    }
    down, along = np.abs(np.diff(grey, axis=0)), np.abs(np.diff(grey, axis=1))
    values["horizontal against vertical edges"] = float(np.log((down.mean() + 1e-4) / (along.mean() + 1e-4)))
    values["noise in flat places"] = float(np.log(np.percentile(np.abs(grey - smooth[0.7]), 20) + 1e-4))
    rows = down.mean(1)
    values["edges of blocks"] = float(np.log((rows[7::8].mean() + 1e-4) / (rows.mean() + 1e-4)))
    return values


def layout(crop: np.ndarray) -> Signs:
    """Where the crop has detail: shares of twelve rows and eight columns."""
    grey = gaussian_filter(crop @ _LUMA / 255, 1.0)
    down, along = np.gradient(grey)
    edges = np.hypot(down, along)
    edges = edges / (edges.sum() + 1e-6)
    values = {f"row {i + 1} of 12": float(p.sum()) for i, p in enumerate(np.array_split(edges, 12, 0))}
    return values | {
        f"column {i + 1} of 8": float(p.sum()) for i, p in enumerate(np.array_split(edges, 8, 1))
    }


KINDS: dict[str, Callable[[np.ndarray], Signs]] = {
    "brightness": brightness,
    "colour": colour,
    "sharpness": sharpness,
}


def signs(crop: np.ndarray) -> dict[str, Signs]:
    """Every sign of a crop uint8 [128,64,3], by kind and by person or background."""
    values = {
        f"{kind}, {part}": measure(crop[:, columns])
        for kind, measure in KINDS.items()
        for part, columns in _PARTS.items()
    }
    return values | {"layout": layout(crop)}


def separation(real: np.ndarray, rendered: np.ndarray, groups: np.ndarray) -> float:
    """Area under the curve, percent, of rows [R,F] against [S,F]; people and sites `groups` [R+S] are
    either trained on or judged."""
    x, y = np.concatenate([real, rendered]), np.repeat([0, 1], [len(real), len(rendered)])
    scores = np.empty(len(y))
    for train, test in GroupKFold(_FOLDS).split(x, y, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        scores[test] = model.fit(x[train], y[train]).decision_function(x[test])
    return 100 * float(roc_auc_score(y, scores))


def read(records: Sequence[Record], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N,128,64,3] of random records, and the number of each one's person."""
    rows = np.random.default_rng(seed).permutation(len(records))[:count]
    chosen = [records[row] for row in rows]
    return load_crops(chosen, *SIZE), np.array([record.pid for record in chosen])


def compare(real: np.ndarray, people: np.ndarray, world: Path, count: int, largest: int) -> None:
    """Prints how far a world's crops can be told from real ones, and by what."""
    sites = sorted(world.glob("site-*"))
    each = -(-count // len(sites))
    parts = [read(read_dataset(f"world:{s.name}", world).train, each, n)[0] for n, s in enumerate(sites)]
    rendered = np.concatenate(parts)
    # numbers of people below 0, of sites from 0 on
    groups = np.concatenate([-1 - people, np.repeat(np.arange(len(parts)), [len(p) for p in parts])])
    measured = [[signs(crop) for crop in crops] for crops in (real, rendered)]
    print(f"\n{world.name}: {len(real)} real crops, {len(rendered)} rendered ones of {len(sites)} sites")
    columns: list[tuple[str, np.ndarray, np.ndarray]] = []
    for kind in measured[0][0]:
        tables = [np.array([list(m[kind].values()) for m in side]) for side in measured]
        print(f"  {kind:24} {separation(tables[0], tables[1], groups):5.1f}")
        for i, name in enumerate(measured[0][0][kind]):
            columns.append((f"{kind}: {name}", tables[0][:, i], tables[1][:, i]))
    every = [np.stack([column[1 + side] for column in columns], 1) for side in range(2)]
    print(f"  {'all signs':24} {separation(every[0], every[1], groups):5.1f}")
    engine = choose_engine(Bundle.load(DEMO))
    embedded = [_embedded(engine.embed, crops) for crops in (real, rendered)]
    print(f"  {'embedding':24} {separation(embedded[0], embedded[1], groups):5.1f}")
    gaps = [((b.mean() - a.mean()) / (a.std() + 1e-9), name, a, b) for name, a, b in columns]
    print("  the largest differences: rendered against real, in deviations of real ones")
    for gap, name, a, b in sorted(gaps, key=lambda row: -abs(row[0]))[:largest]:
        means = f"real {a.mean():.3f} ± {a.std():.3f}, rendered {b.mean():.3f} ± {b.std():.3f}"
        print(f"    {name:48} {gap:+.2f}   {means}")


def _embedded(embed: Callable[[np.ndarray], np.ndarray], crops: np.ndarray) -> np.ndarray:
    return np.concatenate([embed(crops[i : i + 64]) for i in range(0, len(crops), 64)])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the root that holds Market-1501")
    parser.add_argument("--worlds", type=Path, nargs="+", required=True)
    parser.add_argument("--crops", type=int, default=1000, help="real ones, and of each world")
    parser.add_argument("--largest", type=int, default=12, help="differences to print")
    options = parser.parse_args()
    real, people = read(read_dataset("market1501", options.data).train, options.crops, 0)
    for world in options.worlds:
        compare(real, people, world, options.crops, options.largest)


if __name__ == "__main__":
    main()
