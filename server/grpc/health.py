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
    """SERVING until the server begins to stop, then NOT_SERVING.

    Args:
        services: full names of the services that are served; an empty one stands for the whole server.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self.services = set(services)
        self.stopping = asyncio.Event()

    async def Check(self, request: pb.HealthCheckRequest, context: Any) -> pb.HealthCheckResponse:
        """The status now."""
        if request.service not in self.services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:80]!r}")
        return self._status(request.service)

    async def Watch(
        self, request: pb.HealthCheckRequest, context: Any
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        """The status now and when it changes. Ends with the change, so that nobody who watches delays the
        end of the server."""
        stopping = self.stopping.is_set()  # the stop may begin while the first answer is being written
        yield self._status(request.service)
        if not stopping:
            await self.stopping.wait()
            yield self._status(request.service)

    def _status(self, service: str) -> pb.HealthCheckResponse:
        if service not in self.services:
            return _STATUS(status=_STATUS.SERVICE_UNKNOWN)
        return _STATUS(status=_STATUS.NOT_SERVING if self.stopping.is_set() else _STATUS.SERVING)
