"""One query among many vectors: the gallery index beside FAISS, usearch and hnswlib alone, and beside memory.

python -m benchmarks.search --sizes 10000 100000 1000000

Vectors lie around centres, as those of people do, and queries are noisy copies of some. usearch and hnswlib
are measured where they are installed; both are approximate, so their recall among the ten best stands beside
their time. Memory: reading as many bytes as the index holds, by as many threads.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import faiss
import numpy as np

from benchmarks.machine import say_machine
from server.gallery.faiss_index import FaissIndex
from server.gallery.int8_index import Int8Index

DIM, TOP = 512, 10
_EACH = 10  # vectors around one centre
_MOST_APPROXIMATE = 100_000  # vectors; a graph over more takes long to build on two cores
Search = Callable[[np.ndarray], np.ndarray]  # float32 [D] -> int64 [TOP], rows


def people(count: int, seed: int = 0) -> np.ndarray:
    """float32 unit [N,D]: `_EACH` vectors around each of as many centres as that takes."""
    rng = np.random.default_rng(seed)
    vectors = np.empty((count, DIM), np.float32)
    for start in range(0, count, 10_000):
        rows = min(10_000, count - start)
        centres = rng.standard_normal((-(-rows // _EACH), DIM), np.float32).repeat(_EACH, 0)[:rows]
        block = centres + 0.7 * rng.standard_normal((rows, DIM), np.float32)
        vectors[start : start + rows] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def searches(vectors: np.ndarray) -> dict[str, Search]:
    """By name; the exact ones first."""
    rows = np.arange(len(vectors))
    ours, integers = FaissIndex(DIM), Int8Index(DIM)
    for start in range(0, len(vectors), 16_384):
        part = slice(start, start + 16_384)
        for index in (ours, integers):
            index.add(rows[part], ["c"] * len(rows[part]), vectors[part])
    flat = faiss.IndexFlatIP(DIM)
    flat.add(vectors)
    ways: dict[str, Search] = {
        "Resight (halves, exact)": lambda q: ours.search(q, TOP)[1],
        "Resight (RESIGHT_INDEX=int8, exact)": lambda q: integers.search(q, TOP)[1],
        "FAISS IndexFlatIP (float32, exact)": lambda q: flat.search(q[None], TOP)[1][0],
    }
    if len(vectors) > _MOST_APPROXIMATE:
        return ways
    if find_spec("usearch") is not None:
        from usearch.index import Index

        graph = Index(ndim=DIM, metric="ip", dtype="f16")
        graph.add(rows, vectors)
        ways["usearch (HNSW, halves)"] = lambda q: np.asarray(graph.search(q, TOP).keys, np.int64)
    if find_spec("hnswlib") is not None:
        import hnswlib

        layered = hnswlib.Index(space="ip", dim=DIM)
        layered.init_index(len(vectors), ef_construction=200, M=16)
        layered.add_items(vectors, rows)
        layered.set_ef(64)
        ways["hnswlib (HNSW, float32)"] = lambda q: layered.knn_query(q, TOP)[0][0].astype(np.int64)
    return ways


def reading_s(count: int) -> float:
    """Seconds in which all cores read the bytes of the halves once, the best of five."""
    halves = np.ones(count * DIM // 4, np.int64)  # as many bytes
    parts = np.array_split(halves, os.cpu_count() or 1)
    best = float("inf")
    with ThreadPoolExecutor(len(parts)) as pool:
        for _ in range(5):
            began = time.perf_counter()
            list(pool.map(np.max, parts))
            best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    say_machine()
    print(f"\n{DIM} values, the {TOP} best; times as shares of Resight's median\n")
    print("| vectors | search | median | p99 | recall |")
    print("| --- | --- | --- | --- | --- |")
    for size in arguments.sizes:
        vectors = people(size)
        rng = np.random.default_rng(1)
        queries = vectors[rng.integers(0, size, arguments.queries)]
        queries = queries + 0.02 * rng.standard_normal(queries.shape).astype(np.float32)
        ways = searches(vectors)
        truth = [set(np.argsort(-(vectors @ query))[:TOP].tolist()) for query in queries]
        medians: dict[str, float] = {}
        for name, search in ways.items():
            search(queries[0])
            times, hits = [], 0
            for query, best in zip(queries, truth, strict=True):
                began = time.perf_counter()
                rows = search(query)
                times.append(time.perf_counter() - began)
                hits += len(best & set(rows.tolist()))
            medians[name] = float(np.median(times))
            ours = next(iter(medians.values()))
            print(
                f"| {size:,} | {name} | {medians[name] / ours:.2f} | {np.percentile(times, 99) / ours:.2f} "
                f"| {hits / (TOP * len(queries)):.3f} |",
                flush=True,
            )
        print(f"| {size:,} | reading its bytes | {reading_s(size) / ours:.2f} | | |", flush=True)


if __name__ == "__main__":
    main()
