"""FAISS with a GPU part that lies in the CPU's memory and behaves as FAISS's documentation and source say."""

from __future__ import annotations

import dataclasses
import threading
from types import ModuleType

import numpy as np

from server.gallery.gpu import MOST


class Resources:
    """Ends the test where another thread than its own uses it."""

    def __init__(self) -> None:
        self.thread, self.temporary = threading.get_ident(), 0

    def setTempMemory(self, size: int) -> None:
        self.temporary = size

    def require_thread(self) -> None:
        assert threading.get_ident() == self.thread, "a second thread uses the GPU's resource"


@dataclasses.dataclass
class Config:
    device: int = -1
    useFloat16: bool = False
    use_cuvs: bool = False


class Bitmap:
    """A selector of rows: a bit each, the lowest of a byte first."""

    def __init__(self, bits: np.ndarray) -> None:
        self.members = np.unpackbits(bits, bitorder="little").astype(bool)


@dataclasses.dataclass
class Parameters:
    sel: Bitmap


class Flat:
    """A flat index: rows and query are halves, only cuVS takes a selector, -1 where rows are lacking."""

    def __init__(self, module: FaissGpu, resources: Resources, dim: int, config: Config) -> None:
        self.module, self.resources, self.config = module, resources, config
        resources.require_thread()
        assert (config.device, config.useFloat16) == (0, True)
        self.rows = np.empty((0, dim), np.float32)
        module.alive += 1

    def __del__(self) -> None:
        self.module.alive -= 1
        self.module.freed_elsewhere += threading.get_ident() != self.resources.thread

    def add(self, rows: np.ndarray) -> None:
        self.resources.require_thread()
        if len(self.rows) + len(rows) > self.module.room:
            raise RuntimeError("Error in virtual void* allocMemory: StandardGpuResources: out of memory")
        self.rows = np.concatenate([self.rows, rows.astype(np.float16).astype(np.float32)])

    def search(
        self, queries: np.ndarray, k: int, params: Parameters | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        self.resources.require_thread()
        most = MOST if self.config.use_cuvs else 2048
        if not 0 < k <= most:
            raise RuntimeError(f"GPU index only supports min/max-K selection up to {most} (requested {k})")
        self.module.searches.append(k)
        scores = queries[0].astype(np.float16).astype(np.float32) @ self.rows.T
        if params is not None and self.config.use_cuvs and not self.module.drops_filters:
            scores = np.where(params.sel.members[: len(scores)], scores, -np.inf)
        rows = np.argsort(-scores, kind="stable")[:k]
        rows = np.where(np.isfinite(scores[rows]), rows, -1)
        lacking = k - len(rows)
        found = np.where(rows >= 0, scores[rows], -np.finfo(np.float32).max)
        found = np.append(found, np.full(lacking, -np.finfo(np.float32).max, np.float32))
        return found[None].astype(np.float32), np.append(rows, np.full(lacking, -1))[None]


class FaissGpu(ModuleType):
    """The module. `alive` counts indexes that are not freed, `freed_elsewhere` those that another thread than
    the resource's has freed; `searches` has the k of each search."""

    IDSelectorBitmap = Bitmap
    SearchParameters = Parameters
    StandardGpuResources = Resources
    GpuIndexFlatConfig = Config

    def __init__(self, room: int = 1 << 30, drops_filters: bool = False) -> None:
        super().__init__("faiss")
        self.room, self.drops_filters = room, drops_filters
        self.alive = self.freed_elsewhere = 0
        self.searches: list[int] = []

    def GpuIndexFlatIP(self, resources: Resources, dim: int, config: Config) -> Flat:
        return Flat(self, resources, dim, config)

    def get_num_gpus(self) -> int:
        return 1
