"""What an engine may be given: a batch of crops, checked before anything is computed with it.

Runtimes convert in silence: to OpenVINO and torch, crops of 0..1 are nearly black ones, and torch takes any
size.
"""

from __future__ import annotations

import numpy as np


class CropsError(ValueError):
    """What an engine was given is no batch of its bundle's crops; the message says what it is instead."""


def checked_crops(crops: np.ndarray, height: int, width: int) -> np.ndarray:
    """The crops as a contiguous array uint8 [B,height,width,3].

    Raises CropsError for anything else than an array of that dtype and shape.
    """
    wanted = f"uint8 [N,{height},{width},3], RGB"
    if not isinstance(crops, np.ndarray):
        raise CropsError(f"crops are {wanted}, a numpy array, not {type(crops).__name__}")
    if crops.dtype != np.uint8:
        raise CropsError(f"crops are {wanted}, not {crops.dtype}: {advice(crops)}")
    if crops.ndim != 4 or crops.shape[1:] != (height, width, 3):
        shape = ",".join(map(str, crops.shape))
        raise CropsError(f"crops are {wanted}, not [{shape}]; reid.images.resize changes the size of one")
    return np.ascontiguousarray(crops)


def checked_rows(rows: np.ndarray, tables: np.ndarray, count: int, channels: int) -> None:
    """Raises CropsError unless `rows`, int32 [count], names a table of `tables`, float32 [T,2,channels], for
    each crop."""
    if tables.dtype != np.float32 or tables.ndim != 3 or tables.shape[1:] != (2, channels):
        raise CropsError(f"tables are float32 [T,2,{channels}], not {tables.dtype} {list(tables.shape)}")
    if rows.dtype != np.int32 or rows.shape != (count,):
        raise CropsError(f"rows are int32 [{count}], one a crop, not {rows.dtype} {list(rows.shape)}")
    if count and not 0 <= rows.min() <= rows.max() < len(tables):
        raise CropsError(f"rows lie in 0..{len(tables) - 1}, not in {rows.min()}..{rows.max()}")


def advice(crops: np.ndarray) -> str:
    """What to do with pixels of another dtype than uint8, as the end of a sentence."""
    if crops.dtype.kind == "f" and crops.size and crops.min() >= 0 and crops.max() <= 1:
        return "values of 0..1 have to be multiplied by 255 and rounded first"
    return "give the pixels as decoded, 0..255, without mean and deviation"
