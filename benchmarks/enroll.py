"""Enrolling over HTTP beside the bare engine on the same, already decoded crops.

python -m benchmarks.enroll
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from resight_client import Client

from benchmarks.crops import drawn_jpegs
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle
from reid.engines import Engine, choose_engine
from reid.images import decode_crop

_REQUEST = 64  # crops a request


def over_http(url: str, site: str, crops: list[bytes], clients: int) -> float:
    """Crops a second."""
    requests = [crops[start : start + _REQUEST] for start in range(0, len(crops), _REQUEST)]
    with Client(url) as client, ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        list(pool.map(lambda batch: client.enroll(site, batch), requests))
        return len(crops) / (time.perf_counter() - began)


def bare(engine: Engine, crops: np.ndarray, batch: int) -> float:
    """Crops a second."""
    began = time.perf_counter()
    for start in range(0, len(crops), batch):
        engine.embed(crops[start : start + batch])
    return len(crops) / (time.perf_counter() - began)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--crops", type=int, default=1024)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    bundle = Bundle.load(arguments.bundle)
    jpegs = drawn_jpegs(arguments.crops)
    decoded = np.stack([decode_crop(data, bundle.manifest.height, bundle.manifest.width) for data in jpegs])
    engine = choose_engine(bundle, "cpu")
    ratios = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(arguments.bundle, Path(folder) / "data") as server,
    ):
        with Client(server.url) as client:
            batch = client.info()["max_batch"]
        bare(engine, decoded[:128], batch)
        over_http(server.url, "warm", jpegs[:128], arguments.clients)
        for number in range(arguments.rounds):
            alone = bare(engine, decoded, batch)
            served = over_http(server.url, f"site-{number}", jpegs, arguments.clients)
            ratios.append(served / alone)
            print(
                f"round {number}: {served:7.1f} crops/s over HTTP, {alone:7.1f} crops/s bare, ratio "
                f"{ratios[-1]:.2f}"
            )
    info = engine.describe()
    print(
        f"{bundle.manifest.name}, {info.engine} {info.precision}, batch {batch}: ratio "
        f"{statistics.median(ratios):.2f} (median)"
    )


if __name__ == "__main__":
    main()
