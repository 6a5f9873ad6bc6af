"""A real Milvus server out of the package `milvus`, for benchmarks and tests."""

from __future__ import annotations

import shutil
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
        self.server: Any = None

    def __enter__(self) -> MilvusProcess:
        """Starts it."""
        self.start()
        self.wait_until_ready()
        return self

    def start(self) -> None:
        """Starts the process, over the data that it had; does not wait until it answers."""
        from milvus import MilvusServer

        self.server = MilvusServer(wait_for_started=False, proxy_port=self.port)
        self.server.config.extra_configs["proxy.timeTickInterval"] = self.tick_ms
        self.server.set_base_dir(str(self.folder))
        self.server.start()

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
                if time.perf_counter() - began > _READY_S:
                    raise RuntimeError(f"Milvus did not start: {error}") from error
                time.sleep(0.1)

    def kill(self) -> None:
        """kill -9."""
        self.server.server_proc.kill()
        self.server.server_proc.wait()
        self.server.stop()

    def __exit__(self, *error: object) -> None:
        """Stops it and removes its folder."""
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
