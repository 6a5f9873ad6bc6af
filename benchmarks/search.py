"""One query among many vectors: the gallery index beside FAISS, usearch and hnswlib alone, and beside memory.

python -m benchmarks.search --sizes 10000 100000 1000000

A shortlist (`RESIGHT_INDEX=IVF1024,SQ8` and the like) finds what its recall says; `--shortlists` names those
that are built, from `_LEAST_LISTED` vectors on. `rerank` is a search with its 200 nearest re-ranked. Memory
is what an index holds, as a multiple of the halves alone.

Vectors lie around centres, as those of people do, and queries are noisy copies of some. usearch and hnswlib
are measured where they are installed; both are approximate, so their recall among the ten best stands beside
their time. Memory: reading as many bytes as the index holds, by as many threads.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import faiss
import numpy as np

from benchmarks.machine import say_machine
from reid.nearest_reranking import rerank_nearest
from server.gallery.faiss_index import FaissIndex
from server.gallery.int8_index import Int8Index
from server.gallery.shortlist_builder import ShortlistBuilder
from server.gallery.shortlist_index import ShortlistIndex

DIM, TOP, NEAREST = 512, 10, 200
_EACH = 10  # vectors around one centre
_LEAST_LISTED = 100_000
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


def searches(vectors: np.ndarray, shortlists: Sequence[str], held: list[str]) -> dict[str, Search]:
    """By name; the exact ones first. Adds sentences on what they hold."""
    rows = np.arange(len(vectors))
    ours, integers = FaissIndex(DIM), Int8Index(DIM)
    for start in range(0, len(vectors), 16_384):
        part = slice(start, start + 16_384)
        for index in (ours, integers):
            index.add(rows[part], ["c"] * len(rows[part]), vectors[part])
    more = sum(_bytes(each.int8.index) for each in integers.generation.segments if each.int8 is not None)
    held.append(f"{len(vectors):,} vectors, int8: memory {_memory(len(vectors), more):.2f}")

    def reranked(query: np.ndarray) -> np.ndarray:
        seqs = ours.search(query, NEAREST)[1]
        return seqs[np.argsort(rerank_nearest(query, ours.vectors(seqs)[1]))][:TOP]

    flat = faiss.IndexFlatIP(DIM)
    flat.add(vectors)
    ways: dict[str, Search] = {
        "Resight (halves, exact)": lambda q: ours.search(q, TOP)[1],
        "Resight (RESIGHT_INDEX=int8, exact)": lambda q: integers.search(q, TOP)[1],
        "FAISS IndexFlatIP (float32, exact)": lambda q: flat.search(q[None], TOP)[1][0],
    }
    ways["Resight, rerank"] = reranked
    for factory in shortlists if len(vectors) >= _LEAST_LISTED else ():
        listed = ShortlistIndex(DIM, factory, len(vectors) + 1, ShortlistBuilder())  # not by itself
        listed.add(rows, ["c"] * len(rows), vectors)
        began = time.perf_counter()
        listed.build(lambda: False)
        if listed.listing is None:
            held.append(f"{len(vectors):,} vectors, {factory}: {listed.facts.waits}")
            continue
        seconds, facts = time.perf_counter() - began, listed.facts
        memory = _memory(len(vectors), _bytes(listed.listing.shortlist.index))
        held.append(
            f"{len(vectors):,} vectors, {factory}: memory {memory:.2f}, recall by its own rows "
            f"{facts.recall}, built in the time of {seconds / _scan_s(ours, vectors):,.0f} searches by scan"
        )
        ways[f"Resight (RESIGHT_INDEX={factory})"] = functools.partial(_nearest, listed)
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


def _nearest(index: FaissIndex, query: np.ndarray) -> np.ndarray:
    return index.search(query, TOP)[1]


def _bytes(index: Any) -> int:
    """What an index of FAISS holds."""
    return int(faiss.serialize_index(index).size)


def _memory(count: int, more: int) -> float:
    """Halves of so many vectors and other bytes, as a multiple of the halves."""
    return 1 + more / (2 * DIM * count)


def _scan_s(index: FaissIndex, vectors: np.ndarray) -> float:
    """Seconds of a search by scan."""
    began = time.perf_counter()
    for vector in vectors[:10]:
        index.search(vector, TOP)
    return (time.perf_counter() - began) / 10


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
    parser.add_argument("--shortlists", nargs="*", default=["IVF1024,SQ8"])
    arguments = parser.parse_args()
    say_machine()
    print(f"\n{DIM} values, the {TOP} best; times as shares of Resight's median\n")
    print("| vectors | search | median | p99 | recall |")
    print("| --- | --- | --- | --- | --- |")
    held: list[str] = []
    for size in arguments.sizes:
        vectors = people(size)
        rng = np.random.default_rng(1)
        queries = vectors[rng.integers(0, size, arguments.queries)]
        queries = queries + 0.02 * rng.standard_normal(queries.shape).astype(np.float32)
        ways = searches(vectors, arguments.shortlists, held)
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
    print()
    for sentence in held:
        print(f"- {sentence}")


if __name__ == "__main__":
    main()
