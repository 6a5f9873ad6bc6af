"""Which crops of a site probably show one person: part-nearest-neighbours (BNTA section 3.4, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid.adaptation.sampling import camera_numbers, rows_by_camera

MAX_PAIRS = 128  # K of the paper, for its large targets


class Pairs(NamedTuple):
    """K pairs, nearest first; no image is in two of them."""

    first: np.ndarray  # int64 [K]
    second: np.ndarray  # int64 [K]
    stripe: np.ndarray  # int64 [K]: the part where the two are nearest
    distance: np.ndarray  # float32 [K]


def nearest_parts(parts: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """float [N,P,dim] -> (distance float32 [N,N], stripe int64 [N,N]): Euclidean minimum over the stripes.

    One stripe at a time: N = 4,096 needs a few hundred MB instead of P times as much.
    """
    best = torch.full((len(parts), len(parts)), torch.inf)
    stripe = torch.zeros(best.shape, dtype=torch.uint8)
    for h in range(parts.shape[1]):
        column = parts[:, h].float()
        d = torch.cdist(column, column).cpu()
        nearer = d < best
        best[nearer] = d[nearer]
        stripe[nearer] = h
    return best.numpy(), stripe.numpy().astype(np.int64)


def without_camera_means(parts: Tensor, cameras: Sequence[str | None]) -> Tensor:
    """Part features float [N,P,dim] less the mean of their camera's."""
    moved = parts.clone()
    for rows in rows_by_camera(cameras).values():
        places = torch.from_numpy(rows).to(parts.device)
        moved[places] -= parts[places].mean(0)
    return moved


def only_across(distance: np.ndarray, cameras: Sequence[str | None]) -> np.ndarray:
    """Distances float32 [N,N] with infinity between crops of one camera."""
    numbers = camera_numbers(cameras)
    return np.where(numbers[:, None] == numbers[None], np.float32(np.inf), distance)


def greedy_pairs(distance: np.ndarray, stripe: np.ndarray, max_pairs: int = MAX_PAIRS) -> Pairs:
    """The nearest pair, then the nearest of the images that are left, up to min(max_pairs, N // 2) pairs.
    Images that are infinitely far apart are no pair.

    Equal distances go by (i, j). The paper does not say greedy or optimal; this is its literal reading.
    """
    n = len(distance)
    count = min(max_pairs, n // 2)
    rows, columns = np.triu_indices(n, 1)
    order = np.argsort(distance[rows, columns], kind="stable")
    used = np.zeros(n, bool)
    chosen: list[tuple[int, int]] = []
    for at in order:
        i, j = rows[at], columns[at]
        if len(chosen) == count or not np.isfinite(distance[i, j]):
            break
        if not used[i] and not used[j]:
            used[i] = used[j] = True
            chosen.append((int(i), int(j)))
    first, second = (np.array(side, np.int64) for side in (zip(*chosen, strict=True) if chosen else ([], [])))
    return Pairs(first, second, stripe[first, second], distance[first, second].astype(np.float32))
