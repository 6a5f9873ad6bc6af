"""Queries, start and memory at several gallery sizes, beside the bare engine and exact float32 search.

python -m benchmarks.query --sizes 10000 100000

The gallery's embeddings are random unit vectors, written into the store of a stopped server: what is measured
does not depend on what they show. Five of them bear one name; queries by person ask for ten people instead of
ten items. With --unnamed the five are alike, half of the people have no name, and clusters of these are at
hand.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from resight_client import Client

from benchmarks.crops import drawn_jpegs
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle
from reid.images import decode_crop
from server.gallery.records import NewItem
from server.gallery.store import Store

SITE = "benchmark"
_CHUNK = 2_000
_BLOCK = 50  # queries
_ITEMS_EACH = 5  # of a person


def fill(
    folder: Path,
    space_id: str,
    vectors: np.ndarray,
    jpegs: list[bytes] | None = None,
    unnamed: bool = False,
) -> None:
    """Adds items with these embeddings to a stopped server's store: without images, or with some in turn; all
    with names, or every second person without."""
    store = Store(folder)
    first = store.items.count(SITE)
    for start in range(0, len(vectors), _CHUNK):
        chunk = vectors[start : start + _CHUNK]
        people = [(first + start + i) // _ITEMS_EACH for i in range(len(chunk))]
        items = [
            NewItem(camera=f"c{i % 8}", identity=None if unnamed and person % 2 else f"person-{person}")
            for i, person in enumerate(people)
        ]
        images = None
        if jpegs is not None:
            images = [jpegs[(start + i) % len(jpegs)] for i in range(len(chunk))]
        store.items.enroll(SITE, space_id, items, images, chunk)
    store.close()


def timed(query: Callable[[bytes], object], jpegs: list[bytes]) -> list[float]:
    """Seconds of each of a block of queries, after some that warm up."""
    time.sleep(0.5)
    times = []
    for turn in range(-5, _BLOCK):
        began = time.perf_counter()
        query(jpegs[turn % len(jpegs)])
        if turn >= 0:
            times.append(time.perf_counter() - began)
    return times


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--unnamed", action="store_true", help="half of the people have no name")
    parser.add_argument("--queries", type=int, default=300)
    arguments = parser.parse_args()
    bundle, jpegs = Bundle.load(arguments.bundle), drawn_jpegs(64)
    manifest = bundle.manifest
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        with ServerProcess(arguments.bundle, folder) as server, Client(server.url) as client:
            space_id = client.enroll(SITE, jpegs[:1]).space_id
            timed(lambda jpeg: client.query(SITE, jpeg), jpegs)
            engine = server.engine(bundle)
            empty_ready, empty_bytes = server.ready_after_s, server.resident_bytes()
        exact = faiss.IndexFlatIP(manifest.dim)
        exact.add(engine.embed(decode_crop(jpegs[0], manifest.height, manifest.width)[None]))
        for size in sorted(arguments.sizes):
            vectors = rng.standard_normal((size - exact.ntotal, manifest.dim), np.float32)
            if arguments.unnamed:
                first = np.arange(exact.ntotal, size) // _ITEMS_EACH * _ITEMS_EACH - exact.ntotal
                vectors = vectors[np.maximum(first, 0)] + 0.3 * vectors
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            fill(folder, space_id, vectors, unnamed=arguments.unnamed)
            exact.add(vectors)
            del vectors
            with ServerProcess(arguments.bundle, folder) as server, Client(server.url) as client:
                served, alone, grouped = [], [], []
                if arguments.unnamed:
                    with Client(server.url, timeout_s=600) as patient:
                        found = patient.clusters(SITE)
                    print(f"of {found.unnamed} items without a name {found.looked_at} were grouped")
                for _ in range(arguments.queries // _BLOCK):
                    # In blocks with a pause: worker threads of the other process still spin for a while after
                    # their work.
                    served += timed(lambda jpeg: client.query(SITE, jpeg, top_k=10), jpegs)
                    grouped += timed(
                        lambda jpeg: client.query(SITE, jpeg, top_k=10, group_by="identity"), jpegs
                    )
                    alone += timed(
                        lambda jpeg: exact.search(
                            engine.embed(decode_crop(jpeg, manifest.height, manifest.width)[None]), 10
                        ),
                        jpegs,
                    )
                loaded = server.resident_bytes() - empty_bytes
                print(f"{size} items of {manifest.dim} values, {manifest.name}:")
                for share in (50, 99):
                    http, bare = np.percentile(served, share), np.percentile(alone, share)
                    print(
                        f"  query p{share}: {http * 1e3:6.1f} ms over HTTP, {bare * 1e3:6.1f} ms bare, "
                        f"ratio {http / bare:.2f}"
                    )
                    people = np.percentile(grouped, share)
                    print(f"  by person p{share}: {people * 1e3:6.1f} ms, ratio to items {people / http:.2f}")
                print(
                    f"  start to ready: {server.ready_after_s:.1f} s, "
                    f"{server.ready_after_s / empty_ready:.2f} times that of one item"
                )
                raw = size * manifest.dim * 2
                print(
                    f"  resident memory of the gallery: {loaded / 2**20:.0f} MiB, {loaded / raw:.2f} times "
                    f"its bare halves"
                )


if __name__ == "__main__":
    main()
