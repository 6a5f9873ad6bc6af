"""A real Milvus server out of the package `milvus`, for benchmarks and tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.serving import free_ports

_READY_S = 120


class MilvusProcess:
    """A standalone server in a temporary folder, from `with` on.

    Args:
        tick_ms: how often Milvus's clock ticks, for which strong reads wait; it is 200 as shipped.
    """

    def __init__(self, tick_ms: int = 20) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="resight-milvus-"))
        self.port = free_ports(1)[0]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.tick_ms = tick_ms
        self.server: Any = None  # of the package
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> MilvusProcess:
        """Starts it."""
        self.start()
        self.wait_until_ready()
        return self

    def start(self) -> None:
        """Starts the process, over the data that it had; does not wait until it answers."""
        if self.process is not None:
            self._start_again()
            return
        from milvus import MilvusServer

        self.server = MilvusServer(wait_for_started=False)
        names = [name for name in self.server.config.configurable_items if name.endswith("_port")]
        ports = dict(zip(names, free_ports(len(names)), strict=True)) | {"proxy_port": self.port}
        self.server.config.update(**ports)
        self.server.config.extra_configs["proxy.timeTickInterval"] = self.tick_ms
        self.server.set_base_dir(str(self.folder))
        self.server.start()
        self.process = self.server.server_proc

    def _start_again(self) -> None:
        """The same program with the same configuration; the package refuses ports that were used just now."""
        program = self.server.get_milvus_executable_path()
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self.server.webservice_port),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "LD_LIBRARY_PATH": str(Path(program).parent),
        }
        with (self.folder / "logs/again.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "run", "standalone"], env=environment, cwd=self.folder, stdout=log, stderr=log
            )

    def wait_until_ready(self) -> None:
        """Raises RuntimeError where it does not answer in time."""
        from pymilvus import MilvusClient, MilvusException

        began = time.perf_counter()
        while True:
            try:
                client = MilvusClient(self.uri, timeout=2, dedicated=True)
                client.list_collections(timeout=2)
                client.close()
                return
            except MilvusException as error:
                assert self.process is not None
                if time.perf_counter() - began > _READY_S or self.process.poll() is not None:
                    log = (self.folder / "logs/milvus-stderr.log").read_text()
                    raise RuntimeError(f"Milvus did not start: {log[:1000]}") from error
                time.sleep(0.1)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def __exit__(self, *error: object) -> None:
        """Kills it and removes its folder."""
        self.kill()
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
