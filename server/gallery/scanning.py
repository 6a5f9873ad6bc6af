"""A scan of rows by FAISS."""

from __future__ import annotations

import faiss
import numpy as np


def scan(
    index: faiss.Index, vector: np.ndarray, k: int, mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """float32 [D] -> (scores float32 [n], rows int64 [n]), n <= k, best first.

    Args:
        mask: bool [N], rows that may be found; None: every row.
    """
    parameters = None
    k = min(k, index.ntotal)
    if mask is not None:
        k = min(k, int(mask.sum()))
        bits = np.packbits(mask, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    if k == 0:
        return np.empty(0, np.float32), np.empty(0, np.int64)
    scores, rows = index.search(vector[None], k, params=parameters)
    return scores[0], rows[0]
