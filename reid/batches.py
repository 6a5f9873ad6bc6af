"""A large array, computed a batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BATCH = 64

Progress = Callable[[int, int], None]  # rows done, rows in all


def in_batches(
    count: int,
    compute: Callable[[slice], np.ndarray],
    batch: int = BATCH,
    progress: Progress | None = None,
) -> np.ndarray:
    """float32 [count, ...]: what `compute` returns for one slice of 0..count after the other.

    The result is filled in place, so that memory stays flat: pieces that are kept and joined at the end pin
    the allocator's heap between the large blocks they were computed from.

    Args:
        compute: slice of at most `batch` rows -> [rows, ...]; called once with an empty slice for a count
            of 0, since only its answer tells the other dimensions.
    """
    result: np.ndarray | None = None
    for start in range(0, max(count, 1), batch):
        rows = slice(start, min(start + batch, count))
        part = compute(rows)
        if result is None:
            result = np.empty((count, *part.shape[1:]), np.float32)
        result[rows] = part
        if progress is not None:
            progress(rows.stop, count)
    assert result is not None
    return result
