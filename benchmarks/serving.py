"""A real server in a process of its own, for benchmarks and tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from reid.bundle import Bundle
from reid.engine_names import INT8
from reid.engines import Engine, choose_engine

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "deploy/demo/demo.resight"


class ServerProcess:
    """`resight serve` on free ports, from `with` on, until its end or `kill`.

    Args:
        bundle, data: what to serve and where. settings: more `RESIGHT_` settings, in lower case.
        wait_s: how long it may take until it is ready.
    """

    def __init__(self, bundle: Path, data: Path, wait_s: float = 120, **settings: Any) -> None:
        self.port, self.grpc_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.wait_s = wait_s
        self.log = data.parent / f"{data.name}.log"
        names = {
            "bundle": bundle,
            "gallery": data,
            "port": self.port,
            "grpc_port": self.grpc_port,
            "device": "cpu",
        } | settings
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RESIGHT_")}
        self.environment = clean | {f"RESIGHT_{k.upper()}": str(v) for k, v in names.items()}
        self.started_at = self.ready_after_s = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def engine(self, bundle: Bundle) -> Engine:
        """The engine that this server chose, opened here once more."""
        info = httpx.get(f"{self.url}/info", timeout=30).json()["engine"]
        return choose_engine(bundle, "cpu", INT8 if info["precision"] == "int8" else info["engine"])

    def __enter__(self) -> ServerProcess:
        """Starts and waits until /ready answers.

        Raises RuntimeError with the server's last log line if it ends instead.
        """
        self.start()
        return self.wait_until_ready()

    def start(self) -> None:
        """Starts the process, and does not wait."""
        self.started_at = time.perf_counter()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "resight", "serve"],
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def is_ready(self) -> bool:
        """Whether /ready answers so."""
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_ready(self) -> ServerProcess:
        """Waits for a server that was started; raises as `with` does."""
        assert self.process is not None
        began = time.perf_counter()
        while time.perf_counter() - began < self.wait_s:
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text().strip().splitlines()[-1])
            if self.is_ready():
                self.ready_after_s = time.perf_counter() - self.started_at
                return self
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the server was not ready after {self.wait_s} s: {self.log.read_text()[-2000:]}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops it as Ctrl-C does."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def processor_s(self) -> float:
        """Processor time that the process has used so far, of all its threads."""
        assert self.process is not None
        # the name, which may hold spaces, ends with the last bracket; user and system time follow
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Memory that the process holds now."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in fields if line.startswith("VmRSS"))


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
