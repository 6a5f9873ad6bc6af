"""Enrolling over HTTP beside the bare engine on the same, already decoded crops.

python -m benchmarks.enroll

Client and server share the machine, so that what the server and the client do besides the engine's work is
missing to the engine where all cores are busy. The last line says how much that is: processor time of a crop
as a share of what the bare engine takes.

With --command also `resight enroll` over the same crops as files, beside the client that sends their bytes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from resight_client import Client

from benchmarks.crops import drawn_jpegs
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle
from reid.images import decode_crop

_REQUEST = 64  # crops a request


def over_http(url: str, site: str, crops: list[bytes], clients: int) -> float:
    """Crops a second."""
    requests = [crops[start : start + _REQUEST] for start in range(0, len(crops), _REQUEST)]
    with Client(url) as client, ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        list(pool.map(lambda batch: client.enroll(site, batch), requests))
        return len(crops) / (time.perf_counter() - began)


def by_command(url: str, site: str, folder: Path) -> float:
    """Crops a second of `resight enroll FOLDER`, with the second or two in which the command starts."""
    words = ["enroll", str(folder), "--site", site, "--server", url]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "resight", *words], check=True, stdout=subprocess.DEVNULL)
    return len(list(folder.iterdir())) / (time.perf_counter() - began)


def bare(embed: Callable[[np.ndarray], np.ndarray], crops: np.ndarray, batch: int) -> float:
    """Crops a second."""
    began = time.perf_counter()
    for start in range(0, len(crops), batch):
        embed(crops[start : start + batch])
    return len(crops) / (time.perf_counter() - began)


def parts_line(engine_s: float, decode_s: float, server_s: float, client_s: float) -> str:
    """Where the processor time of a crop goes, all in seconds: of the bare engine, of decoding in one
    thread, of the whole server and of the whole client."""
    rest_s = max(server_s - engine_s - decode_s, 0.0)
    return (
        f"processor time of a crop beside the bare engine's, ratios: decoding {decode_s / engine_s:.2f}, "
        f"receiving, committing and answering {rest_s / engine_s:.2f}, the client {client_s / engine_s:.2f}"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--crops", type=int, default=1024)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--command", action="store_true", help="also measure resight enroll")
    arguments = parser.parse_args()
    bundle = Bundle.load(arguments.bundle)
    jpegs = drawn_jpegs(arguments.crops)
    began = time.thread_time()
    decoded = np.stack([decode_crop(data, bundle.manifest.height, bundle.manifest.width) for data in jpegs])
    decode_s = (time.thread_time() - began) / len(jpegs)
    ratios, by_hand = [], []
    engine_s, server_s, client_s = [], [], []  # processor time of a crop, by rounds
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(arguments.bundle, Path(folder) / "data") as server,
    ):
        with Client(server.url) as client:
            batch = client.info()["max_batch"]
        engine = server.engine(bundle)
        bare(engine.embed, decoded[:128], batch)
        over_http(server.url, "warm", jpegs[:128], arguments.clients)
        files = Path(folder) / "crops"
        files.mkdir()
        for number, data in enumerate(jpegs):
            (files / f"{number:06d}.jpg").write_bytes(data)
        for number in range(arguments.rounds):
            started = time.process_time()
            alone = bare(engine.embed, decoded, batch)
            engine_s.append((time.process_time() - started) / len(jpegs))
            started, server_started = time.process_time(), server.processor_s()
            served = over_http(server.url, f"site-{number}", jpegs, arguments.clients)
            client_s.append((time.process_time() - started) / len(jpegs))
            server_s.append((server.processor_s() - server_started) / len(jpegs))
            ratios.append(served / alone)
            print(
                f"round {number}: {served:7.1f} crops/s over HTTP, {alone:7.1f} crops/s bare, ratio "
                f"{ratios[-1]:.2f}"
            )
            if arguments.command:
                typed = by_command(server.url, f"typed-{number}", files)
                by_hand.append(typed / served)
                print(f"    {typed:7.1f} crops/s by resight enroll, ratio to the client {by_hand[-1]:.2f}")
    info = engine.describe()
    print(
        f"{bundle.manifest.name}, {info.engine} {info.precision}, batch {batch}: ratio "
        f"{statistics.median(ratios):.2f} (median)"
    )
    print(parts_line(*(statistics.median(each) for each in (engine_s, [decode_s], server_s, client_s))))
    if by_hand:
        print(f"resight enroll beside the client: ratio {statistics.median(by_hand):.2f} (median)")


if __name__ == "__main__":
    main()
