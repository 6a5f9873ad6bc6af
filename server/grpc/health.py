"""gRPC's health service. It has no lock: a watcher that does not read keeps nobody else waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc

_STATUS = pb.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """NOT_SERVING until `serving` is set, SERVING until `stopping` is, then NOT_SERVING.

    Args:
        services: full names of the services that are served; an empty one stands for the whole server.
        serving: False while something has to be done before anything can be answered.
    """

    def __init__(self, services: Sequence[str], serving: bool = True) -> None:
        self.services = set(services)
        self.serving, self.stopping = asyncio.Event(), asyncio.Event()
        if serving:
            self.serving.set()

    async def Check(self, request: pb.HealthCheckRequest, context: Any) -> pb.HealthCheckResponse:
        """The status now."""
        if request.service not in self.services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:80]!r}")
        return self._status(request.service)

    async def Watch(
        self, request: pb.HealthCheckRequest, context: Any
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        """The status now and when it changes. Ends with the stop, so that nobody who watches delays the
        end of the server."""
        if not self.serving.is_set() and not self.stopping.is_set():
            yield self._status(request.service)
            await self._one_of(self.serving, self.stopping)
        stopping = self.stopping.is_set()  # the stop may begin while the first answer is being written
        yield self._status(request.service)
        if not stopping:
            await self.stopping.wait()
            yield self._status(request.service)

    async def _one_of(self, *events: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in waits:
                waiting.cancel()

    def _status(self, service: str) -> pb.HealthCheckResponse:
        if service not in self.services:
            return _STATUS(status=_STATUS.SERVICE_UNKNOWN)
        serves = self.serving.is_set() and not self.stopping.is_set()
        return _STATUS(status=_STATUS.SERVING if serves else _STATUS.NOT_SERVING)
