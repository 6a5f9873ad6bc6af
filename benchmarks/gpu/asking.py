"""Clients that query a server: a process of them imports this and no torch."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

from resight_client import Client


def ask(
    url: str, site: str, jpegs: list[bytes], threads: int, start_at: float, seconds: float
) -> list[float]:
    """Seconds of each query of several threads, which ask one after the other for so many seconds.

    Args:
        start_at: when they begin to count, by `time.time`; before it they warm up.
    """

    def run(first: int) -> list[float]:
        times: list[float] = []
        with Client(url) as client:
            for row in range(3):
                client.query(site, jpegs[row])
            time.sleep(max(0.0, start_at - time.time()))
            end = time.perf_counter() + seconds
            for row in itertools.count(first):
                began = time.perf_counter()
                if began >= end:
                    return times
                client.query(site, jpegs[row % len(jpegs)])
                times.append(time.perf_counter() - began)
        return times

    with ThreadPoolExecutor(threads) as pool:
        return list(itertools.chain(*pool.map(run, range(threads))))
