"""Queries while a site is embedded anew, beside a quiet server; and how fast that is beside the bare engine.

python -m benchmarks.beside

In one process, as the server is: the real use cases over a real store, queries one after the other with a
pause between them, and the re-embedding of another site for other BatchNorm values in a thread. It and quiet
take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.crops import drawn_jpegs
from benchmarks.enroll import bare
from benchmarks.machine import say_machine
from benchmarks.serving import DEMO
from reid.engines.rows import pack
from reid.images import decode_crop
from reid.profile import Profile
from server.gallery.records import NewItem
from server.main import open_service
from server.service import Service
from server.settings import Settings

SITE, OTHER = "asked", "embedded"
_REQUEST = 64


def moved_profile(service: Service, number: int) -> str:
    """The id of a kept profile with slightly other means, which nothing is embedded with yet."""
    base = service.engines.base_profile
    values = {layer: table.copy() for layer, table in base.site.items()}
    for table in values.values():
        table[2] += 1e-3 * (number + 1) * np.sqrt(table[3])
    cameras = {"c0": values}  # so that it is computed by the engine that profiles share
    return service.store.versions.save_profile(Profile(base.base, base.site, cameras, base.eps))


async def fill(service: Service, site: str, jpegs: list[bytes]) -> None:
    """Enrolls crops."""
    for start in range(0, len(jpegs), _REQUEST):
        part = jpegs[start : start + _REQUEST]
        await service.enrolling.enroll(site, part, [NewItem(camera=f"c{i % 4}") for i in range(len(part))])


async def ask(service: Service, jpegs: list[bytes], pause_s: float, until: threading.Event) -> list[float]:
    """Seconds of each query, until an event."""
    times: list[float] = []
    while not until.is_set():
        began = time.perf_counter()
        await service.querying.query(SITE, [jpegs[len(times) % len(jpegs)]])
        times.append(time.perf_counter() - began)
        await asyncio.sleep(pause_s)
    return times


def asked_meanwhile(
    service: Service, jpegs: list[bytes], pause_s: float, work: Callable[[], object]
) -> list[float]:
    """Seconds of queries while a thread works."""
    ended = threading.Event()

    def working() -> None:
        try:
            work()
        finally:
            ended.set()

    threading.Thread(target=working).start()
    return asyncio.run(ask(service, jpegs, pause_s, ended))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--crops", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--pause-ms", type=float, default=20.0, help="between two queries")
    arguments = parser.parse_args()
    say_machine()
    jpegs = drawn_jpegs(arguments.crops)
    pause_s = arguments.pause_ms / 1000
    quiet: list[float] = []
    busy: list[float] = []
    rates, yielding = [], []
    with tempfile.TemporaryDirectory() as folder:
        service = open_service(Settings(bundle=arguments.bundle, data=Path(folder) / "data", device="cpu"))
        size = service.engines.bundle.size
        pixels = np.stack([decode_crop(data, *size) for data in jpegs])
        asyncio.run(fill(service, SITE, jpegs[:_REQUEST]))
        asyncio.run(fill(service, OTHER, jpegs))
        site = service.sites.get(OTHER)

        def embed_anew(number: int) -> float:
            profile = moved_profile(service, number)
            with service.engines.lease(profile):
                began = time.perf_counter()
                service.rebuilder.embed_missing(site, profile, lambda share: None)
                return len(jpegs) / (time.perf_counter() - began)

        embed_anew(-2)  # compiles
        time.sleep(1)
        rows = service.engines.base_engine.with_rows()
        table = pack(service.engines.base_profile, rows.layers)[None]

        def with_table(crops: np.ndarray) -> np.ndarray:
            return rows.embed(crops, np.zeros(len(crops), np.int32), table)

        for number in range(arguments.rounds):
            alone = bare(with_table, pixels, service.engines.max_batch)
            rates.append(embed_anew(2 * number) / alone)
            quiet += asked_meanwhile(service, jpegs, pause_s, lambda: time.sleep(2))[5:]
            done: list[float] = []

            def work(number: int = number, done: list[float] = done) -> None:
                done.append(embed_anew(2 * number + 1))

            busy += asked_meanwhile(service, jpegs, pause_s, work)[5:]
            yielding.append(done[0] / alone)
        service.close()
    name = arguments.bundle.stem
    for share in (50, 99):
        ratio = np.percentile(busy, share) / np.percentile(quiet, share)
        print(f"{name}, query p{share} while a site is embedded anew: {ratio:.2f} times that of a quiet one")
    for what, each in (("", rates), (" while queries come", yielding)):
        print(f"{name}, embedding a site anew{what}: ratio {statistics.median(each):.2f} to the bare engine")


if __name__ == "__main__":
    main()
