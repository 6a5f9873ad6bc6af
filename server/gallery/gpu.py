"""FAISS's GPU part: flat rows in half precision, searched by cuVS, the only one that honours a filter.

Nothing of a GPU may be touched by two threads at once, not even to read. So there is one resource, and one
thread that uses it; everybody else hands it work and waits.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, TypeVar

import faiss
import numpy as np

MOST = 16_384  # rows of one search
_TEMPORARY = 256 * 1024 * 1024  # bytes for one search's intermediate results; FAISS would take 1.5 GiB
_Result = TypeVar("_Result")


class GpuSearchError(RuntimeError):
    """The GPU did not search, or not as it must; the message says why, in one line."""


class GpuRows:
    """Rows on the GPU; they are freed when nobody holds this any more.

    Args:
        flat: a list of FAISS's index alone, so that the thread of the GPU can let go of it.
    """

    def __init__(self, gpu: Gpu, flat: list[Any]) -> None:
        self.flat = flat
        # at the end of the process its memory goes back anyway
        weakref.finalize(self, gpu.let_go, flat).atexit = False


class Gpu:
    """The first GPU.

    Args:
        module: FAISS with its GPU part.
    """

    def __init__(self, module: ModuleType = faiss) -> None:
        self.faiss = module
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="faiss-gpu")
        self.resources: Any = None  # made by the thread that uses it

    def put(self, blocks: Iterable[np.ndarray], dim: int) -> GpuRows:
        """float32 [N,D] blocks, one after the other, of values that are halves. Raises GpuSearchError."""
        return GpuRows(self, self._do(lambda: [self._filled(blocks, dim)]))

    def search(
        self, rows: GpuRows, vector: np.ndarray, k: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """float32 [D] -> (scores float32 [k], rows int64 [k]), as FAISS says: the query is rounded to half,
        and -1 stands for no row.

        Args:
            allowed: bool [N]; None: every row.

        Raises GpuSearchError.
        """
        return self._do(lambda: self._searched(rows.flat[0], vector, k, allowed))

    def settle(self) -> None:
        """Waits until what was let go of before is freed."""
        self._do(lambda: None)

    def let_go(self, flat: list[Any]) -> None:
        """Has the thread free an index."""
        try:
            self.thread.submit(flat.clear)
        except RuntimeError:  # the process ends, and takes no more work
            return

    def _do(self, work: Callable[[], _Result]) -> _Result:
        try:
            return self.thread.submit(work).result()
        except (RuntimeError, MemoryError, AttributeError) as error:  # what FAISS raises, or lacks
            raise GpuSearchError(" ".join(str(error).split())) from error

    def _filled(self, blocks: Iterable[np.ndarray], dim: int) -> Any:
        if self.resources is None:
            self.resources = self.faiss.StandardGpuResources()
            self.resources.setTempMemory(_TEMPORARY)
        config = self.faiss.GpuIndexFlatConfig()
        config.device, config.useFloat16, config.use_cuvs = 0, True, True
        flat = self.faiss.GpuIndexFlatIP(self.resources, dim, config)
        for block in blocks:
            flat.add(block)
        return flat

    def _searched(
        self, flat: Any, vector: np.ndarray, k: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        parameters = None
        if allowed is not None:
            selector = self.faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            parameters = self.faiss.SearchParameters(sel=selector)
        scores, rows = flat.search(vector[None], k, params=parameters)
        return scores[0], rows[0]
