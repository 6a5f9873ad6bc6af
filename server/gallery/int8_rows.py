"""Rows as eight-bit integers beside their halves: which rows may be among the best, with a proof.

A row x is stored as x' = scale * integers, a query q is asked as q' alike. Then

    q.x - q'.x' = q'.(x - x') + (q - q').x,   at most |q'| |x - x'| + |q - q'| |x|,

so a score of integers says between which bounds the true one lies. Rows whose upper bound is below the lower
bounds of k others cannot be among the k best; the rest is scored again from the halves. What comes out is
what a scan of the halves finds, in a fraction of the time, for half as much memory again.
"""

from __future__ import annotations

import dataclasses

import faiss
import numpy as np

from server.gallery.scanning import scan

_BLOCK = 1_024  # rows that are float32 at once
_LARGEST = 127
_ROUNDING = 1e-5  # what float32 adds to a sum of products


@dataclasses.dataclass(frozen=True)
class Int8Query:
    """A query in integers.

    Args:
        values: float32 [D], whole numbers. scale: of them. length: of the vector that they make. lost: length
            of what they leave out.
    """

    values: np.ndarray
    scale: float
    length: float
    lost: float

    @classmethod
    def of(cls, vector: np.ndarray) -> Int8Query:
        """float32 [D], as integers."""
        scale = _scale(vector)
        values = np.rint(vector / scale)
        rounded = values * scale
        return cls(values, scale, _longest(rounded[None]), _longest((vector - rounded)[None]))


@dataclasses.dataclass(frozen=True)
class Int8Rows:
    """Rows in integers.

    Args:
        scale: of their integers. longest: length of the longest row. lost: of the longest remainder.
    """

    index: faiss.IndexScalarQuantizer
    scale: float
    longest: float
    lost: float

    @classmethod
    def of(cls, halves: np.ndarray) -> Int8Rows:
        """float16 [N,D], as integers."""
        index = faiss.IndexScalarQuantizer(
            halves.shape[1], faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
        )
        index.is_trained = True
        scale, longest, lost = _scale(halves), 0.0, 0.0
        for start in range(0, len(halves), _BLOCK):
            rows = halves[start : start + _BLOCK].astype(np.float32)
            values = np.rint(rows / scale)  # float32
            index.add(values)
            longest, lost = max(longest, _longest(rows)), max(lost, _longest(rows - values * scale))
        return cls(index, scale, longest, lost)

    def near(self, query: Int8Query, k: int, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, float]:
        """(scores float32 [n], rows int64 [n], how far any score may be off), as `scan` answers."""
        scores, rows = scan(self.index, query.values, k, mask)
        off = query.length * self.lost + query.lost * self.longest + _ROUNDING
        return scores * np.float32(self.scale * query.scale), rows, off


def _scale(values: np.ndarray) -> float:
    """By which values become integers from -127 to 127."""
    return max(float(values.max()), -float(values.min())) / _LARGEST or 1.0


def _longest(rows: np.ndarray) -> float:
    """Length of the longest of float32 [n,D]."""
    return float(np.linalg.norm(rows, axis=1).max())
