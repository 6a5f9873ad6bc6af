"""Adaptations whose worker or server ends: the live version stays, and the next start goes on."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

import pytest
from resight_client import Client, Job, JobFailed

from benchmarks.serving import ServerProcess
from reid.bundle import Bundle
from reid.engines import EngineInfo
from server.engine_memory import engine_bytes
from server.worker import _NICENESS
from tests.conftest import enroll_people
from tests.workers import wait_for_end, wait_for_worker, workers_of

People = list[tuple[bytes, str, str]]


def pid_of(server: ServerProcess) -> int:
    """The server's process id."""
    assert server.process is not None
    return server.process.pid


def wait_for_torch(client: Client, job: Job) -> None:
    """Waits until the job's worker has begun."""
    for seen in client.watch(job.job):
        if seen.stage in ("loading torch", "comparing parts", "pairing", "adapting"):
            return
    raise AssertionError("the job ended before its worker began")


def test_a_killed_worker_fails_its_job_and_nothing_else(server: ServerProcess, people: People) -> None:
    name = f"killed-{uuid.uuid4().hex[:8]}"
    with Client(server.url) as client:
        enroll_people(client, name, people)
        before = client.query(name, people[0][0], top_k=48)
        job = client.adapt(name, "2", gate=False)
        os.kill(wait_for_worker(pid_of(server)), signal.SIGKILL)
        with pytest.raises(JobFailed, match="WorkerError: the worker process was killed by SIGKILL"):
            client.wait(job.job)
        assert client.query(name, people[0][0], top_k=48) == before
        assert client.wait(client.adapt(name, "2", gate=False).job).version == 2
        assert not workers_of(pid_of(server))


def test_cancelling_ends_the_worker(server: ServerProcess, people: People) -> None:
    name = f"cancelled-{uuid.uuid4().hex[:8]}"
    with Client(server.url) as client:
        enroll_people(client, name, people)
        job = client.adapt(name, "2", gate=False)
        worker = wait_for_worker(pid_of(server))
        client.cancel(job.job)
        with pytest.raises(JobFailed, match="cancelled"):
            client.wait(job.job)
        wait_for_end(worker)
        assert client.site(name).version == 1


def test_a_worker_stands_back(server: ServerProcess, people: People) -> None:
    name = f"nice-{uuid.uuid4().hex[:8]}"
    with Client(server.url) as client:
        enroll_people(client, name, people)
        job = client.adapt(name, "2", gate=False)
        worker = wait_for_worker(pid_of(server))
        until = time.monotonic() + 20
        while os.getpriority(os.PRIO_PROCESS, worker) < min(19, os.nice(0) + _NICENESS):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert os.getsid(worker) == worker  # Ctrl-C in the server's terminal does not reach it
        assert Path(f"/proc/{worker}/oom_score_adj").read_text().strip() == "1000"
        client.cancel(job.job)


def test_a_job_goes_on_after_kill_9_and_after_an_orderly_stop(
    bundle: Bundle, people: People, tmp_path: Path
) -> None:
    data, crops = tmp_path / "data", None
    with ServerProcess(bundle.path, data) as server, Client(server.url) as client:
        enroll_people(client, "lobby", people)
        job = client.adapt("lobby", "2", seed=5, gate=False)
        wait_for_torch(client, job)
        (worker,) = workers_of(pid_of(server))
        crops = next((data / "work").glob("*/crops.u8"))
        os.kill(worker, signal.SIGSTOP)  # so that it cannot notice by itself
        server.kill()
        wait_for_end(worker)
        assert crops.exists()
    with ServerProcess(bundle.path, data) as server, Client(server.url) as client:
        assert not crops.exists()
        worker = wait_for_worker(pid_of(server))
        assert client.job(job.job).state == "running"
        assert client.site("lobby").version == 1
        assert server.process is not None
        server.process.terminate()
        server.process.wait(60)
        wait_for_end(worker)
        assert not list((data / "work").iterdir())
    with ServerProcess(bundle.path, data) as server, Client(server.url) as client:
        ended = client.wait(job.job)
        assert (ended.job, ended.version, client.site("lobby").version) == (job.job, 2, 2)
        client.wait(client.adapt("lobby", "none").job)
        again = client.wait(client.adapt("lobby", "2", seed=5, gate=False).job)
        assert again.report["profile"] == ended.report["profile"]  # the same request, the same result


def test_memory_is_given_back_after_a_job(bundle: Bundle, people: People, tmp_path: Path) -> None:
    """The first one leaves the engine of the adapted site, the second one replaces it."""
    resident = []
    with ServerProcess(bundle.path, tmp_path / "data") as server, Client(server.url) as client:
        enroll_people(client, "lobby", people)
        for seed in range(3):
            if seed:
                client.wait(client.adapt("lobby", "2", seed=seed, gate=False).job)
            for _ in range(5):
                client.query("lobby", people[0][0])
            resident.append(server.resident_bytes())
    engine = engine_bytes(bundle, EngineInfo("openvino", "", "", "cpu", ""), batch=32)
    before, after_one, after_two = resident
    assert after_one < 1.1 * before + engine
    assert after_two < 1.1 * after_one
