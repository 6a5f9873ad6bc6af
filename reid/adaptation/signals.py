"""What can be seen without labels of whether a change of the embeddings helps. No torch.

Every signal compares the same crops as they were embedded before and after a tier: whether neighbours come
from several cameras, whether a crop still finds another view of itself, whether people keep apart. None of
them is proof; `gate.py` weighs them together, by weights that were fitted where the truth was known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from reid.adaptation.sampling import camera_numbers

_NEIGHBOURS = 8
_VIEW_SHIFT = 0.06  # of the height and the width


@dataclasses.dataclass(frozen=True)
class Pool:
    """Crops of a site as one space compares them.

    Args:
        vectors: float32 [N,D], unit length. views: float32 [M,D], another view of the first M of them.
        cameras: [N].
    """

    vectors: np.ndarray
    views: np.ndarray
    cameras: Sequence[str | None]


def signals(before: Pool, after: Pool, fitted: Sequence[str | None]) -> dict[str, float]:
    """Every signal by name; pairs of the same name end in `_before` and `_change`.

    Args:
        fitted: the camera of each crop that the tier was fitted to.
    """
    cameras = camera_numbers(before.cameras)
    first, second = _facts(before, cameras), _facts(after, cameras)
    values = {f"{name}_before": value for name, value in first.items()}
    values |= {f"{name}_change": second[name] - value for name, value in first.items()}
    values["agreement"] = _agreement(before.vectors, after.vectors, cameras)
    values["drift"] = 1 - float((before.vectors * after.vectors).sum(1).mean())
    _, counts = np.unique([camera for camera in fitted if camera is not None] or [""], return_counts=True)
    values["log_cameras"] = float(np.log(len(counts)))
    values["log_fewest"] = float(np.log(counts.min()))
    values["log_mean_count"] = float(np.log(counts.mean()))
    return values


def views(crops: np.ndarray, seed: int = 0) -> np.ndarray:
    """Another view of each crop, uint8 [N,H,W,3]: mirrored, moved by up to 6 %, brighter or darker by up to
    a quarter."""
    rng = np.random.default_rng(seed)
    _, height, width, _ = crops.shape
    reach_y, reach_x = max(1, int(_VIEW_SHIFT * height)), max(1, int(_VIEW_SHIFT * width))
    changed = np.empty_like(crops)
    for number, crop in enumerate(crops):
        y, x = rng.integers(-reach_y, reach_y + 1), rng.integers(-reach_x, reach_x + 1)
        rows = np.clip(np.arange(height) + y, 0, height - 1)
        columns = np.clip(np.arange(width) + x, 0, width - 1)[::-1]
        light = rng.uniform(0.75, 1.25)
        changed[number] = np.clip(crop[rows][:, columns] * light, 0, 255)
    return changed


def _facts(pool: Pool, cameras: np.ndarray) -> dict[str, float]:
    """The signals of one space."""
    similar = pool.vectors @ pool.vectors.T
    np.fill_diagonal(similar, -np.inf)
    count = len(similar)
    k = max(1, min(_NEIGHBOURS, (count - 1) // 2))
    nearest = np.argpartition(-similar, k - 1, axis=1)[:, :k]
    pairs = similar[~np.eye(count, dtype=bool)]
    spread = max(float(pairs.std()), 1e-6)
    return {
        "mixing": _mixing(nearest, cameras),
        "camera_share": _camera_share(pool.vectors, cameras),
        "log_rank": _log_rank(pool.vectors),
        "log_rank_of_camera": _log_rank_within(pool.vectors, cameras),
        "margin_of_views": _margin_of_views(pool, k) / spread,
        "margin_across": _margin_across(similar, cameras) / spread,
        "hubness": _hubness(nearest, count),
        "mean_similarity": float(pairs.mean()),
        "spread": spread,
    }


def _mixing(nearest: np.ndarray, cameras: np.ndarray) -> float:
    """How many neighbours come from other cameras, over how many would by chance; 1 where there is one."""
    other = cameras[nearest] != cameras[:, None]
    _, inverse, counts = np.unique(cameras, return_inverse=True, return_counts=True)
    expected = (1 - (counts[inverse] - 1) / max(1, len(cameras) - 1)).mean()
    return float(other.mean() / expected) if expected > 1e-6 else 1.0


def _camera_share(vectors: np.ndarray, cameras: np.ndarray) -> float:
    """The share of the variance that lies between the cameras' means."""
    total = vectors.var(0).sum()
    between = 0.0
    mean = vectors.mean(0)
    for camera in np.unique(cameras):
        rows = vectors[cameras == camera]
        between += len(rows) / len(vectors) * float(((rows.mean(0) - mean) ** 2).sum())
    return between / max(float(total), 1e-9)


def _log_rank(vectors: np.ndarray) -> float:
    """Log of the effective rank (Roy and Vetterli, 2007) of the centred embeddings, over that of as many in
    general position: 0 where every crop is different, far below where few people are in the crops."""
    if len(vectors) < 3:
        return 0.0
    centred = vectors - vectors.mean(0)
    small = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    values = np.clip(np.linalg.eigvalsh(small), 1e-12, None)
    shares = values / values.sum()
    entropy = -(shares * np.log(shares)).sum()
    return float(entropy - np.log(min(len(vectors) - 1, vectors.shape[1])))


def _log_rank_within(vectors: np.ndarray, cameras: np.ndarray) -> float:
    """The lowest `_log_rank` of a camera."""
    ranks = []
    for camera in np.unique(cameras):
        rows = vectors[cameras == camera]
        if len(rows) >= 4:
            ranks.append(_log_rank(rows))
    return min(ranks, default=0.0)


def _margin_of_views(pool: Pool, k: int) -> float:
    """Mean of: similarity of a view to its own crop, less the mean of the k most similar other crops; not a
    number where there are no views."""
    if not len(pool.views):
        return float("nan")
    similar = pool.views @ pool.vectors.T
    rows = np.arange(len(similar))
    own = similar[rows, rows]
    similar[rows, rows] = -np.inf
    others = np.partition(similar, -k, axis=1)[:, -k:].mean(1)
    return float((own - others).mean())


def _margin_across(similar: np.ndarray, cameras: np.ndarray) -> float:
    """Mean, over crops, of: the most similar crop of another camera, less the mean of the next four."""
    across = np.where(cameras[:, None] != cameras[None], similar, -np.inf)
    best = -np.sort(-across, axis=1)[:, :5]
    enough = np.isfinite(best).all(1) if best.shape[1] == 5 else np.zeros(len(best), bool)
    if not enough.any():
        return 0.0
    return float((best[enough, 0] - best[enough, 1:].mean(1)).mean())


def _hubness(nearest: np.ndarray, count: int) -> float:
    """Skewness of how often a crop is a neighbour of others."""
    times = np.bincount(nearest.ravel(), minlength=count).astype(np.float64)
    deviation = times.std()
    return float((((times - times.mean()) / deviation) ** 3).mean()) if deviation > 1e-9 else 0.0


def _agreement(before: np.ndarray, after: np.ndarray, cameras: np.ndarray) -> float:
    """Mean share of a crop's nearest neighbours in its own camera that stay its neighbours."""
    shares = []
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        k = min(5, (len(rows) - 1) // 2)
        if k < 1:
            continue
        first, second = _nearest(before[rows], k), _nearest(after[rows], k)
        for one, other in zip(first, second, strict=True):
            shares.append(len(np.intersect1d(one, other)) / k)
    return float(np.mean(shares)) if shares else 1.0


def _nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    return np.argpartition(-similar, k - 1, axis=1)[:, :k]
