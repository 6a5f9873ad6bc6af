"""A query of the index in Milvus beside the index in memory, whose answers it must give.

    python -m benchmarks.milvus_search

Needs the packages pymilvus and milvus.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.milvus import MilvusProcess
from server.gallery.faiss_index import FaissIndex
from server.gallery.index import GalleryIndex, SearchFilter
from server.gallery.milvus import MilvusRows
from server.gallery.milvus_index import MilvusIndex, StoredVectors
from server.gallery.milvus_writer import MilvusWriter
from server.gallery.records import NewItem, Version
from server.gallery.store import Store

DIM, ENROLLED, ASKED, COMPARED = 512, 1_000, 30, 5
VERSION = Version("lobby", 1, "profile", "space", "raw", DIM, None, "created", 0.0, "none", 0)


def main() -> None:
    """Prints a line for each kind of query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=50_000)
    items = parser.parse_args().items
    rng = np.random.default_rng(0)
    with MilvusProcess(tick_ms=200) as milvus, tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "data")
        store.versions.add_site(VERSION)
        rows = MilvusRows(milvus.uri, None, "benchmark", DIM)
        rows.connect()
        outside = MilvusIndex(rows, MilvusWriter(rows), StoredVectors(store, VERSION, None))
        inside = FaissIndex(DIM)
        began = time.perf_counter()
        for _ in range(0, items, ENROLLED):
            _enroll(store, _unit(rng, ENROLLED), outside, inside)
        print(f"enrolled and written: {time.perf_counter() - began:.0f} s")
        seqs = inside.seqs()
        kinds: list[tuple[str, SearchFilter | None, int]] = [
            ("10 best", None, 10),
            ("10 best of one camera of eight", SearchFilter(camera="camera-3"), 10),
            ("10 best without 100 items", SearchFilter(left_out=seqs[5:105]), 10),
            ("10 best of 5,000 chosen", SearchFilter(allowed=seqs[:5_000]), 10),
            ("10 best of a chosen half", SearchFilter(allowed=seqs[::2]), 10),
            ("1,000 best", None, 1_000),
        ]
        print("| query | in memory ms | in Milvus ms |\n| --- | --- | --- |")
        for name, where, count in kinds:
            for vector in _unit(rng, COMPARED):
                scores = [index.search(vector, count, where)[0] for index in (inside, outside)]
                # items whose scores differ in the last digit that is shown may change places
                assert np.abs(scores[0] - scores[1]).max() <= 2e-6, "the indexes do not answer alike"
            times = [_median_ms(index, _unit(rng, ASKED), count, where) for index in (inside, outside)]
            print(f"| {name} | {times[0]:.1f} | {times[1]:.1f} |", flush=True)
        began = time.perf_counter()
        outside.compare()
        print(f"compared: {time.perf_counter() - began:.1f} s")
        store.close()
        rows.close()


def _unit(rng: np.random.Generator, count: int) -> np.ndarray:
    """float32 [count,DIM], with the digits of halves."""
    vectors = rng.normal(size=(count, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


def _enroll(store: Store, vectors: np.ndarray, outside: MilvusIndex, inside: FaissIndex) -> None:
    records = [NewItem(camera=f"camera-{i % 8}") for i in range(len(vectors))]
    items = store.items.enroll("lobby", "raw", records, None, vectors)
    for index in (outside, inside):
        index.add([item.seq for item in items], [item.camera for item in items], vectors)
    while outside.facts.items != len(outside):
        outside.write(at_once=True)


def _median_ms(index: GalleryIndex, vectors: np.ndarray, count: int, where: SearchFilter | None) -> float:
    seconds = []
    for vector in vectors:
        began = time.perf_counter()
        index.search(vector, count, where)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)) * 1000


if __name__ == "__main__":
    main()
