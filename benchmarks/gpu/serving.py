"""A real server on the GPU: start, enrolling, queries by the number of clients, an adaptation."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
from resight_client import Client

from benchmarks.crops import drawn_jpegs
from benchmarks.gpu import device
from benchmarks.gpu.adaptation import returned
from benchmarks.gpu.asking import ask
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import Plan
from benchmarks.serving import ServerProcess

SITE = "gpu"
_REQUEST = 64  # crops of one enroll
_PROCESSES = 8  # of clients: one Python process cannot keep a server busy
_SETTLE_S = 4.0  # in which these start and warm up


def check_serving(plan: Plan, findings: Findings) -> None:
    """Starts the server twice, the second time over what the first left."""
    jpegs, before = drawn_jpegs(plan.crops), device.used_mib()
    data = plan.folder / "data"
    with ServerProcess(plan.bundle, data, device=plan.device, decode_threads=8) as server:
        findings.say(f"first start: ready after {server.ready_after_s:.1f} s")
        with Client(server.url, timeout_s=300) as client:
            engine = client.info()["engine"]
            findings.say(f"serves with {engine}")
            findings.require(str(engine["device"]).startswith(plan.device), f"serves on {engine['device']}")
            _enroll(client, jpegs, findings)
            for clients in plan.clients:
                _query(server.url, jpegs[:64], clients, 8 * plan.seconds, findings)
            _adapt(client, plan.device, findings)
            _query(server.url, jpegs[:64], plan.clients[-1], 8 * plan.seconds, findings)
    with ServerProcess(plan.bundle, data, device=plan.device) as server:
        findings.say(f"second start, with an adapted site: ready after {server.ready_after_s:.1f} s")
    after = device.used_mib()
    findings.say(f"memory of the GPU: {before} MiB before, {after} MiB after both servers")
    findings.require(returned(before, after), f"{before} MiB before the servers, {after} MiB after them")


def _enroll(client: Client, jpegs: list[bytes], findings: Findings) -> None:
    starts = range(0, len(jpegs), _REQUEST)

    def send(start: int) -> None:
        batch = jpegs[start : start + _REQUEST]
        client.enroll(SITE, batch, records=[{"camera": f"c{(start + i) % 4}"} for i in range(len(batch))])

    send(0)
    with ThreadPoolExecutor(4) as pool:
        began = time.perf_counter()
        list(pool.map(send, starts))
        rate = len(jpegs) / (time.perf_counter() - began)
    findings.say(f"enrolling with 4 clients: {rate:.0f} crops/s")


def _query(url: str, jpegs: list[bytes], clients: int, seconds: float, findings: Findings) -> None:
    processes = min(clients, _PROCESSES)
    spawn = multiprocessing.get_context("spawn")
    start_at = time.time() + min(_SETTLE_S, seconds)
    seconds = max(0.2, seconds)
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        share = clients // processes
        works = [pool.submit(ask, url, SITE, jpegs, share, start_at, seconds) for _ in range(processes)]
        times = np.array(list(itertools.chain(*(work.result() for work in works))))
    findings.say(
        f"{clients:>2} clients: {len(times) / seconds:6.0f} queries/s over HTTP, p50 "
        f"{1e3 * np.percentile(times, 50):.1f} ms, p99 {1e3 * np.percentile(times, 99):.1f} ms"
    )


def _adapt(client: Client, on: str, findings: Findings) -> None:
    before = device.used_mib()
    began = time.perf_counter()
    job = client.wait(client.adapt(SITE, "2", gate=False).job)
    seconds = time.perf_counter() - began
    report, after = job.report, device.used_mib()
    findings.say(
        f"adapting {report['crops']} crops while serving: {seconds:.1f} s, stages {report['seconds']}, "
        f"engine to torch {report['engine_parity']}, drift {report['drift']}"
    )
    findings.say(f"memory of the GPU: {before} MiB before the job, {after} MiB after it")
    findings.require(report["device"] == on, f"the job ran on {report['device']}")
