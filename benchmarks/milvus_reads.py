"""How long Milvus lets a search wait at each level of consistency, and whether it shows the row that was
written just before: alone, and while others enroll.

    python -m benchmarks.milvus_reads

Needs the packages pymilvus and milvus.
"""

from __future__ import annotations

import argparse
import threading
import time

import numpy as np

from benchmarks.milvus import MilvusProcess
from server.gallery.milvus import MilvusRows

DIM, WRITTEN, ASKED, ENROLL_EVERY_S = 512, 500, 60, 0.05


def main() -> None:
    """Prints a line for each level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    items = parser.parse_args().items
    rng = np.random.default_rng(0)
    with MilvusProcess(tick_ms=200) as milvus:  # the clock as Milvus is shipped
        rows = MilvusRows(milvus.uri, None, "benchmark", DIM)
        rows.connect()
        for start in range(0, items, WRITTEN):
            _write(rows, range(start, start + WRITTEN), _unit(rng, WRITTEN))
        rows.digests(1, [0])  # waits until they are there
        print(f"| {items} items | level | p50 ms | p99 ms | shows the row before |\n|---|---|---|---|---|")
        following = items
        for while_enrolling in (False, True):
            stop = threading.Event()
            enrolling = threading.Thread(target=_enroll, args=(rows, stop, items + 100_000))
            if while_enrolling:
                enrolling.start()
            for level in ("Strong", "Session", "Bounded"):
                seconds, seen = [], 0
                for _ in range(ASKED):
                    vector = _unit(rng, 1)
                    _write(rows, range(following, following + 1), vector)
                    began = time.perf_counter()
                    found = _search(rows, vector[0], level)
                    seconds.append(time.perf_counter() - began)
                    seen += following in found
                    following += 1
                middle, worst = np.percentile(np.array(seconds) * 1000, [50, 99])
                when = "while others enroll" if while_enrolling else "alone"
                print(f"| {when} | {level} | {middle:.1f} | {worst:.1f} | {seen} of {ASKED} |", flush=True)
            stop.set()
            if while_enrolling:
                enrolling.join()
        rows.close()


def _unit(rng: np.random.Generator, count: int) -> np.ndarray:
    """float32 [count,DIM]."""
    vectors = rng.normal(size=(count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _write(rows: MilvusRows, seqs: range, vectors: np.ndarray) -> None:
    rows.insert("lobby", 1, seqs, [None] * len(seqs), [0] * len(seqs), vectors)


def _enroll(rows: MilvusRows, stop: threading.Event, first: int) -> None:
    rng = np.random.default_rng(1)
    while not stop.wait(ENROLL_EVERY_S):
        _write(rows, range(first, first + 1), _unit(rng, 1))
        first += 1


def _search(rows: MilvusRows, vector: np.ndarray, level: str) -> list[int]:
    """As `MilvusRows.search` asks, at another level."""
    found = rows.client.search(
        rows.collection,
        [vector],
        limit=74,
        filter='site == "lobby" and space == 1',
        output_fields=["seq"],
        search_params={"metric_type": "IP"},
        consistency_level=level,
    )
    return [hit["entity"]["seq"] for hit in found[0]]


if __name__ == "__main__":
    main()
