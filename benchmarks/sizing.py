"""How many machines a network of cameras needs, from what this machine does.

python -m benchmarks.sizing                    # 100 million crops, 10,000 sites, 1,000 queries a second
python -m benchmarks.sizing --items 2000000 --sites 50 --queries 20 --memory-gib 32 --cores 8

It measures what a query and an enrolled crop take here (run it on an idle machine), simulates queries that
come at random to find how many a second one machine answers within `--p99-ms`, and counts machines by each
thing that can run out. With --check a real server is asked at random times, and its answers' times stand
beside the simulated ones: when that was tried last, on cores that were not idle, half of the real queries
took about as long as simulated and one in a hundred three to eight times as long, so give the machines room.
Rates are this machine's: on another, run it there.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from resight_client import Client

from benchmarks.crops import drawn_jpegs
from benchmarks.enroll import over_http
from benchmarks.machine import say_machine
from benchmarks.query import SITE, fill
from benchmarks.queueing import Rates, most_within, simulate
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle
from reid.engines import Engine
from reid.images import decode_crop

_SHARES = (0.3, 0.5, 0.7)  # of what the simulation says a machine can do, for --check
_MEMORY_SHARE = 0.7  # of a machine, that galleries may fill
_HALF = 2  # bytes of a stored value
_DAY_S = 86_400.0


class Measured(NamedTuple):
    """What this machine does.

    Args:
        rates: of a query, with `cores` of this machine.
        enroll_s: processor time of one enrolled crop. memory, disk: bytes an item, without its image.
    """

    rates: Rates
    enroll_s: float
    memory: float
    disk: float


class Need(NamedTuple):
    """What is asked for."""

    items: int
    sites: int
    queries_per_s: float
    enrolls_per_s: float
    image_bytes: int


class Machine(NamedTuple):
    """What there is of each machine."""

    cores: float
    memory: float  # bytes
    disk: float
    network: float  # bytes a second


def engine_times(engine: Engine, crops: np.ndarray, batch: int) -> tuple[float, float, float]:
    """Seconds of one crop, of each further crop of a batch, and the cores that are busy meanwhile."""
    singles: list[float] = []
    batches: list[float] = []
    engine.embed(crops[:batch])
    for _ in range(20):
        engine.embed(crops[:1])
    worked, began = time.process_time(), time.perf_counter()
    for turn in range(60):
        started = time.perf_counter()
        engine.embed(crops[:1] if turn % 2 else crops[:batch])
        (singles if turn % 2 else batches).append(time.perf_counter() - started)
    cores = (time.process_time() - worked) / (time.perf_counter() - began)
    first, whole = float(np.median(singles)), float(np.median(batches))
    return first, max(whole - first, 0.0) / (batch - 1), cores


def query_work(server: ServerProcess, jpegs: list[bytes], turns: int) -> float:
    """Median seconds of a query, one after the other. Processor time would say more of threads that wait for
    the next piece of work in a loop than of the work."""
    times: list[float] = []
    with Client(server.url) as client:
        for turn in range(20 + turns):
            began = time.perf_counter()
            client.query(SITE, jpegs[turn % len(jpegs)])
            times.append(time.perf_counter() - began)
    return float(np.median(times[20:]))


def measure(bundle: Path, items_each: int, cores: float, turns: int = 200) -> Measured:
    """Measures a server over a site of one item and over one of `items_each`."""
    loaded, jpegs = Bundle.load(bundle), drawn_jpegs(256)
    manifest, rng = loaded.manifest, np.random.default_rng(0)
    pixels = np.stack([decode_crop(jpeg, manifest.height, manifest.width) for jpeg in jpegs])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        with ServerProcess(bundle, folder) as server:
            with Client(server.url) as client:
                space_id = client.enroll(SITE, jpegs[:1]).space_id
                batch = client.info()["max_batch"]
            small_s = query_work(server, jpegs, turns)
            engine = server.engine(loaded)
            before = server.processor_s()
            over_http(server.url, "enrolled", jpegs, 2)
            enroll_s = (server.processor_s() - before) / len(jpegs)
            empty = server.resident_bytes()
        small_disk = disk_of(folder)
        vectors = rng.standard_normal((items_each, manifest.dim), np.float32)
        fill(folder, space_id, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        with ServerProcess(bundle, folder) as server:
            large_s = query_work(server, jpegs, turns)
            memory = max(server.resident_bytes() - empty, items_each * manifest.dim * _HALF) / items_each
        disk = (disk_of(folder) - small_disk) / items_each
    first_s, each_s, engine_cores = engine_times(engine, pixels, batch)
    search_s = max(large_s - small_s, 1e-6)
    loop_s = max(small_s - first_s, 1e-6)  # the client's part of a query is in it, too
    rates = Rates(loop_s, first_s, each_s, engine_cores, search_s, cores, batch)
    return Measured(rates, enroll_s, memory, disk)


def disk_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def machines(need: Need, machine: Machine, measured: Measured, p99_s: float) -> dict[str, float]:
    """Machines that each thing asks for, not rounded: the largest is what runs out first."""
    within = most_within(dataclasses.replace(measured.rates, cores=machine.cores), p99_s)
    sent = need.image_bytes * (need.queries_per_s + need.enrolls_per_s)
    return {
        "memory": need.items * measured.memory / (_MEMORY_SHARE * machine.memory),
        "disk": need.items * (measured.disk + need.image_bytes) / machine.disk,
        "queries": need.queries_per_s / within if within else math.inf,
        "enrolling": need.enrolls_per_s * measured.enroll_s / machine.cores,
        "network": sent / machine.network,
    }


def answered(server: ServerProcess, jpegs: list[bytes], per_s: float, queries: int) -> np.ndarray:
    """Seconds of queries that are sent at random times, whether the ones before are answered or not."""
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / per_s, queries))
    seconds = np.full(queries, math.inf)
    local = threading.local()

    def send(number: int, due: float) -> None:
        if not hasattr(local, "client"):
            local.client = Client(server.url)
        local.client.query(SITE, jpegs[number % len(jpegs)])
        seconds[number] = time.perf_counter() - due

    with ThreadPoolExecutor(32) as pool:
        began = time.perf_counter()
        for number, arrival in enumerate(arrivals):
            due = began + arrival
            time.sleep(max(0.0, due - time.perf_counter()))
            pool.submit(send, number, due)
    return seconds


def check(bundle: Path, items_each: int, rates: Rates) -> None:
    """Prints what a real server takes beside what the simulation says. The clients share its cores."""
    jpegs, rng = drawn_jpegs(256), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        with ServerProcess(bundle, folder) as server, Client(server.url) as client:
            space_id = client.enroll(SITE, jpegs[:1]).space_id
        dim = Bundle.load(bundle).manifest.dim
        vectors = rng.standard_normal((items_each, dim), np.float32)
        fill(folder, space_id, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        with ServerProcess(bundle, folder) as server:
            query_work(server, jpegs, 100)
            for share in _SHARES:
                per_s = share * rates.most
                real = answered(server, jpegs, per_s, max(300, int(per_s * 5)))
                simulated = simulate(rates, per_s, 4_000)
                ratios = [np.percentile(simulated, at) / np.percentile(real, at) for at in (50, 99)]
                print(
                    f"at {share:.0%} of what is possible: simulated by measured time, p50 {ratios[0]:.2f}, "
                    f"p99 {ratios[1]:.2f}",
                    flush=True,
                )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--items", type=int, default=100_000_000, help="crops of all sites that are kept")
    parser.add_argument("--sites", type=int, default=10_000)
    parser.add_argument("--queries", type=float, default=1_000.0, help="a second, of all sites")
    parser.add_argument("--days", type=float, default=30.0, help="after which crops are erased")
    parser.add_argument("--image-bytes", type=int, default=10_000, help="of one crop as it is sent")
    parser.add_argument("--cores", type=float, default=2.0, help="of each machine")
    parser.add_argument("--memory-gib", type=float, default=64.0, help="of each machine")
    parser.add_argument("--disk-gib", type=float, default=2_000.0, help="of each machine")
    parser.add_argument("--network-mbit", type=float, default=1_000.0, help="of each machine")
    parser.add_argument("--p99-ms", type=float, default=200.0, help="99 of 100 queries are answered within")
    parser.add_argument("--check", action="store_true", help="ask a real server, too")
    given = parser.parse_args()
    say_machine()
    items_each = max(1, given.items // given.sites)
    measured = measure(given.bundle, items_each, given.cores)
    rates = measured.rates
    print(
        f"a query: event loop {rates.loop_s * 1e3:.1f} ms, engine {rates.first_s * 1e3:.1f} ms and "
        f"{rates.each_s * 1e3:.2f} ms for each further crop on {rates.engine_cores:.1f} cores, search of "
        f"{items_each:,} items {rates.search_s * 1e3:.2f} ms; an enrolled crop: "
        f"{measured.enroll_s * 1e3:.2f} ms; an item: {measured.memory:,.0f} bytes of memory, "
        f"{measured.disk:,.0f} of disk without its image"
    )
    if given.check:
        check(given.bundle, items_each, rates)
    enrolls_per_s = given.items / (given.days * _DAY_S)
    need = Need(given.items, given.sites, given.queries, enrolls_per_s, given.image_bytes)
    gib, mbit = 2**30, 1e6 / 8
    one = Machine(given.cores, given.memory_gib * gib, given.disk_gib * gib, given.network_mbit * mbit)
    counts = machines(need, one, measured, given.p99_ms / 1e3)
    print("\n| what | machines | beside what runs out first |\n| --- | --- | --- |")
    most = max(counts.values())
    for what, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        print(f"| {what} | {math.ceil(count):,} | {count / most:.2f} |")


if __name__ == "__main__":
    main()
