"""What grows with a gallery: start, queries, memory and disk, by items of one site and by sites.

python -m benchmarks.growth --items 1000 10000 100000 1000000 --sites 1 10 100 1000

Embeddings are random unit vectors, written into the store of a stopped server, without images: what is
measured does not depend on what they show. Sites share `--items-of-all` items. Memory and disk are bytes an
item beside its embedding in half precision, without what a gallery of one item takes; memory is left out
where all embeddings are smaller than what two starts of one process differ by.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from resight_client import Client

from benchmarks.crops import drawn_jpegs
from benchmarks.machine import say_machine
from benchmarks.query import timed
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle
from server.gallery.records import NewItem
from server.main import open_service
from server.settings import Settings

_CHUNK = 2_000
_BLOCKS = 3  # of queries
_ITEMS_EACH = 5  # of a person
_FEWEST_BYTES = 2**24  # of all embeddings, for memory an item


class Size(NamedTuple):
    """What one gallery takes."""

    ready_s: float
    p50_s: float
    p99_s: float
    resident: int  # bytes, of the whole process
    disk: int


def name_of(site: int) -> str:
    """The name of a site by its number."""
    return f"site-{site}"


def fill(settings: Settings, items: int, sites: int) -> None:
    """Makes a gallery of so many items in all, which take the sites in turn."""
    service = open_service(settings)
    dim = service.engines.bundle.manifest.dim
    rng = np.random.default_rng(0)
    for number in range(sites):
        state = service.sites.get_or_create(name_of(number)).state
        left = items // sites + (number < items % sites)
        while left:
            count = min(_CHUNK, left)
            left -= count
            vectors = rng.standard_normal((count, dim), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            new = [
                NewItem(camera=f"c{i % 8}", identity=f"person-{(left + i) // _ITEMS_EACH}")
                for i in range(count)
            ]
            service.store.items.enroll(name_of(number), state.version.raw_space_id, new, None, vectors)
    service.close()


def asked(client: Client, site: str, jpeg: bytes) -> object:
    """One query."""
    return client.query(site, jpeg, top_k=10)


def measured(bundle: Path, items: int, sites: int, jpegs: list[bytes]) -> Size:
    """Fills a gallery in a process of its own and measures a server over it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        settings = Settings(bundle=bundle, data=folder, device="cpu")
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            pool.apply(fill, (settings, items, sites))
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        with ServerProcess(bundle, folder, wait_s=600) as server, Client(server.url) as client:
            times: list[float] = []
            for turn in range(_BLOCKS):
                times += timed(partial(asked, client, name_of(turn % sites)), jpegs)
            p50, p99 = np.percentile(times, (50, 99))
            return Size(server.ready_after_s, float(p50), float(p99), server.resident_bytes(), disk)


def row(title: str, size: Size, first: Size, empty: Size, items: int, dim: int) -> str:
    """A line of the table."""
    half = 2 * dim * items
    memory = f"{(size.resident - empty.resident) / half:.2f}" if half >= _FEWEST_BYTES else ""
    return (
        f"| {title} | {size.ready_s / first.ready_s:.2f} | {size.p50_s / first.p50_s:.2f} "
        f"| {size.p99_s / first.p99_s:.2f} | {memory} "
        f"| {(size.disk - empty.disk) / half:.2f} |"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--sites", type=int, nargs="+", default=[1, 10, 100, 1_000])
    parser.add_argument("--items-of-all", type=int, default=10_000, help="of all sites together")
    arguments = parser.parse_args()
    say_machine()
    dim, jpegs = Bundle.load(arguments.bundle).manifest.dim, drawn_jpegs(64)
    empty = measured(arguments.bundle, 1, 1, jpegs)
    head = "start | query p50 | query p99 | memory an item | disk an item |"
    print(f"\nItems of one site, {dim} values: times the first row's seconds, times the embedding's bytes\n")
    print(f"| items | {head}\n{'| --- ' * 6}|")
    first: Size | None = None
    for items in arguments.items:
        size = measured(arguments.bundle, items, 1, jpegs)
        first = first or size
        print(row(f"{items:,}", size, first, empty, items, dim), flush=True)
    total = arguments.items_of_all
    print(f"\n{total:,} items of all sites together, likewise\n")
    print(f"| sites | {head}\n{'| --- ' * 6}|")
    first = None
    for sites in arguments.sites:
        size = measured(arguments.bundle, total, sites, jpegs)
        first = first or size
        print(row(f"{sites:,}", size, first, empty, total, dim), flush=True)


if __name__ == "__main__":
    main()
