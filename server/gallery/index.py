"""What every gallery index promises: search over one site's embeddings in one space, exact unless its facts
say otherwise."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np

# FAISS's words for an approximate index that may be set
SHORTLIST = re.compile(r"(HNSW\d{1,3}|IVF(?P<lists>[1-9]\d{0,5}))(,(Flat|SQfp16|SQ8))?")
SCORE_DIGITS = 6  # behind the point, of every score: ranked, compared with a threshold and shown like that


@dataclasses.dataclass(frozen=True)
class SearchFilter:
    """Exact conditions a search obeys; all that are set must hold."""

    camera: str | None = None  # only this camera
    exclude_camera: str | None = None  # anything but this camera; items without a camera stay
    allowed: np.ndarray | None = None  # int64 seqs, ascending: only these
    left_out: np.ndarray | None = None  # int64 seqs, ascending: none of these

    @property
    def is_open(self) -> bool:
        """True when it lets everything through."""
        conditions = (self.camera, self.exclude_camera, self.allowed, self.left_out)
        return all(condition is None for condition in conditions)


@dataclasses.dataclass(frozen=True)
class IndexFacts:
    """How an index answers.

    Args:
        kind: exact, int8 and milvus (exact as well), or the words for FAISS of an approximate one. items:
            that it knows; others are scanned. recall: the share of the ten best that it finds, of its own
            items as queries; None: all. speed_up: how many times as fast as a scan it was then. waits: why
            another kind, which is set, is not used, or why Milvus does not answer.
    """

    kind: str = "exact"
    items: int | None = None
    recall: float | None = None
    speed_up: float | None = None
    waits: str | None = None


class GalleryIndex(Protocol):
    """Inner-product search over unit vectors. Readers and writers may be different threads at the same time:
    a search sees the items of one moment, whole."""

    def add(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """Adds items; `seqs` ascend and are greater than any before. vectors: float [N,D]."""
        ...

    def put(
        self, seqs: Sequence[int] | np.ndarray, cameras: Sequence[str | None], vectors: np.ndarray
    ) -> None:
        """Adds items, or puts others in the place of those that it holds; `seqs` ascend and may lie before
        any that it holds. A search sees the old items or the new ones. vectors: float [N,D]."""
        ...

    def remove(self, seqs: Sequence[int] | np.ndarray) -> None:
        """Removes items, from results and from memory, before it returns. Unknown seqs are ignored."""
        ...

    def search(
        self, vector: np.ndarray, k: int, where: SearchFilter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """float32 [D] -> (scores float64 [n] of `SCORE_DIGITS`, seqs int64 [n]), n <= k, best first, equal
        scores by seq."""
        ...

    def vectors(self, seqs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 [n] -> (which of them it holds, bool [n]; float32 [m,D] of these, as it compares them)."""
        ...

    def seqs(self) -> np.ndarray:
        """int64 [N]: what it holds, ascending."""
        ...

    @property
    def facts(self) -> IndexFacts:
        """How it answers."""
        ...

    def __len__(self) -> int:
        """Items it holds."""
        ...
