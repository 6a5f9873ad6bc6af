"""The index with its sealed rows as eight-bit integers as well: the same answers in a fraction of the time.

The integers of all segments are scanned first. They say of each row between which bounds its score lies
(`int8_rows.py`), and so a score that k rows reach at least. Only rows that may reach it are scored from their
halves; where rows that were not fetched may reach it too, more are fetched, or the halves are scanned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from server.gallery.faiss_index import DELTA, SEGMENT, FaissIndex, Part, Segment, run
from server.gallery.index import SCORE_DIGITS
from server.gallery.int8_rows import Int8Query

# rows of a segment that are fetched by their integers: so many for each that is wanted, and some beside
TIMES, BESIDE = 2, 32
WIDER = 16  # times as many, where these do not suffice


class Int8Index(FaissIndex):
    """A `GalleryIndex` in memory that has its sealed rows twice, as halves and as integers.

    Args:
        dim: length of the vectors. segment, delta: sizes, smaller in tests.
    """

    def __init__(self, dim: int, segment: int = SEGMENT, delta: int = DELTA) -> None:
        super().__init__(dim, segment, delta, int8=True)

    def _of_parts(
        self, parts: Sequence[Part], masks: Sequence[np.ndarray | None], vector: np.ndarray, k: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        query, fetched = Int8Query.of(vector), TIMES * k + BESIDE
        near = run(lambda part, mask: _near(part, query, fetched, mask, vector, k), parts, masks)
        lowest = _reached(np.concatenate([scores - off for scores, _, off in near]), k)

        def best(part: Part, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
            scores, rows, off = found.pop(id(part))
            if not isinstance(part, Segment):
                return scores, part.seqs[rows]
            if _is_cut_off(scores, fetched, lowest - off):
                scores, rows, off = _near(part, query, WIDER * fetched, mask, vector, k)
                if _is_cut_off(scores, WIDER * fetched, lowest - off):
                    return part.search(vector, k, mask)
            rows = rows[scores >= lowest - off]
            return part.take(rows) @ vector, part.seqs[rows]

        found = {id(part): each for part, each in zip(parts, near, strict=True)}
        return run(best, parts, masks)


def _near(
    part: Part, query: Int8Query, fetched: int, mask: np.ndarray | None, vector: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """(scores float32 [n], best first, rows int64 [n], how far any score may be off)."""
    if isinstance(part, Segment) and part.int8 is not None:
        return part.int8.near(query, fetched, mask)
    scores, seqs = part.search(vector, k, mask)  # the delta's are few, and exact
    return scores.astype(np.float32), np.searchsorted(part.seqs, seqs), 0.0


def _reached(bounds: np.ndarray, k: int) -> float:
    """A score that k rows reach at least, or seem to reach where scores are rounded; float32 [n] are bounds
    below those of different rows."""
    if len(bounds) < k:
        return -np.inf
    lowest = min(float(np.partition(bounds, len(bounds) - k)[len(bounds) - k]), 1.0)
    lowest -= 2 * 10.0**-SCORE_DIGITS
    return lowest if lowest > -1 else -np.inf  # scores beyond 1 and -1 become equal


def _is_cut_off(scores: np.ndarray, fetched: int, lowest: float) -> bool:
    """Whether rows that were not fetched may score this high, where as many came as were asked for."""
    return len(scores) == fetched and bool(scores[-1] >= lowest)
