"""A gRPC server in the process of the test: its service is at hand, and it starts in milliseconds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from benchmarks.serving import free_ports
from server.auth import Auth
from server.grpc.app import create_server
from server.service import Service


@contextmanager
def served(service: Service, required: bool) -> Iterator[grpc.Channel]:
    """A channel to a server over the service, which needs keys where they are `required`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(20)

    address = f"127.0.0.1:{free_ports(1)[0]}"
    server = run(create_server(service, Auth(service.store, required), address))
    run(server.start())
    try:
        with grpc.insecure_channel(address) as channel:
            yield channel
    finally:
        run(server.stop(0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def refusal(call: Any, message: Any, key: str | None = None) -> tuple[grpc.StatusCode, str]:
    """The status and the sentence with which a call is refused, also one that answers in a stream."""
    metadata = [("authorization", f"Bearer {key}")] if key else []

    def answers() -> list[Any]:
        answer = call(message, metadata=metadata, timeout=20)
        return list(answer) if hasattr(answer, "__next__") else [answer]

    with pytest.raises(grpc.RpcError) as caught:
        answers()
    return caught.value.code(), caught.value.details()
