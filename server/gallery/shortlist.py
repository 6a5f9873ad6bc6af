"""A FAISS index that names rows which may be the best: approximate, so others score them.

It takes rows in ascending order of their seqs and never gives one up. A row that must be forgotten has its
vector overwritten; what remains of it is its place among the others.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from server.gallery.index import SHORTLIST

_faiss: Any = faiss  # its types lack much of what is used here
_TRAINED_BY = 64  # rows for each list of an IVF
_LEAST_TRAINED_BY = 16_384
_SHIFT = 32  # FAISS's direct map: the list stands above, the place in it below


class Shortlist:
    """Names candidates.

    Args:
        factory: FAISS's words for it, as `SHORTLIST` has them.
    """

    def __init__(self, dim: int, factory: str) -> None:
        match = SHORTLIST.fullmatch(factory)
        if match is None:
            raise ValueError(f"{factory!r} is no shortlist; like HNSW32,SQfp16 or IVF4096,SQ8")
        self.lists = int(match["lists"] or 0)  # 0: a graph
        self.index: Any = _faiss.index_factory(dim, factory, _faiss.METRIC_INNER_PRODUCT)
        if self.lists:
            self.index.set_direct_map_type(_faiss.DirectMap.Array)
        self.blocks: list[np.ndarray] = []
        self.count, self.last, self.forgotten = 0, -1, 0

    @property
    def trained_by(self) -> int:
        """How many rows it learns from, at most."""
        return max(_TRAINED_BY * self.lists, _LEAST_TRAINED_BY)

    def train(self, rows: np.ndarray) -> None:
        """Learns from float32 [N,D]. Raises ValueError where they are too few."""
        if len(rows) < self.lists:
            raise ValueError(f"{len(rows)} items are too few for {self.lists} lists")
        self.index.train(rows)

    def add(self, seqs: np.ndarray, rows: np.ndarray) -> None:
        """Adds rows float32 [N,D]; int64 [N] ascend and are greater than any before. Nobody may search."""
        self.index.add(rows)
        self.blocks.append(seqs)
        self.count, self.last = self.count + len(seqs), int(seqs[-1])

    @property
    def seqs(self) -> np.ndarray:
        """int64 [count]: by row."""
        if len(self.blocks) != 1:
            self.blocks = [np.concatenate([np.empty(0, np.int64), *self.blocks])]
        return self.blocks[0]

    @property
    def widths(self) -> list[int]:
        """How wide a search may be, from narrow to wide: lists that are read, or rows that a walk keeps."""
        if not self.lists:
            return [64, 128, 256, 512, 1024]
        least = max(1, self.lists // 128)
        return [min(self.lists, least << step) for step in range(6)]

    def candidates(self, vector: np.ndarray, count: int, width: int, times: int) -> np.ndarray:
        """float32 [D] -> seqs int64 [n], n <= count, of rows that may be the best.

        Args:
            width: one of `widths`. times: by which a search has to be wider, since it is for more rows.
        """
        if self.lists:
            parameters = _faiss.SearchParametersIVF(nprobe=min(self.lists, width * times))
        else:
            parameters = _faiss.SearchParametersHNSW(efSearch=max(width, count))
        _, rows = self.index.search(vector[None], min(count, self.count), params=parameters)
        return self.seqs[rows[0][rows[0] >= 0]]

    def forget(self, seqs: np.ndarray) -> None:
        """Overwrites the vectors of these seqs, those that it has. A search at the same time may meet the
        zeros: it names such a row late or not at all, and nobody wants it any more."""
        if not self.count:
            return
        held = self.seqs
        rows = np.minimum(np.searchsorted(held, seqs), self.count - 1)
        rows = rows[held[rows] == seqs]
        self.forgotten += len(rows)
        if self.lists:
            self._forget_in_lists(rows)
        elif len(rows):
            storage: Any = _faiss.downcast_index(self.index.storage)
            codes = _faiss.rev_swig_ptr(storage.codes.data(), storage.codes.size())
            codes.reshape(self.count, -1)[rows] = _nothing(storage)

    def _forget_in_lists(self, rows: np.ndarray) -> None:
        lists, size = self.index.invlists, self.index.code_size
        nothing = _nothing(self.index)
        places = _faiss.rev_swig_ptr(self.index.direct_map.array.data(), self.count)[rows]
        for place in places.tolist():
            number, offset = place >> _SHIFT, place & ((1 << _SHIFT) - 1)
            codes = _faiss.rev_swig_ptr(lists.get_codes(number), lists.list_size(number) * size)
            codes[offset * size : (offset + 1) * size] = nothing


def _nothing(index: Any) -> np.ndarray:
    """uint8 [code size]: the code of a vector of zeros; in a list, of the list's mean. Bytes of zeros could
    be a long vector, which would be named for many a query."""
    quantizer = getattr(index, "sq", None)
    if quantizer is None:
        return np.zeros(index.code_size, np.uint8)
    return quantizer.compute_codes(np.zeros((1, index.d), np.float32))[0]
