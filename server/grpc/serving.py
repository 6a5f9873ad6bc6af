"""The gRPC server's life, and what gRPC's core bounds by itself."""

from __future__ import annotations

import grpc

from server.grpc.health import Health
from server.settings import Settings


class GrpcServer:
    """A gRPC server with its health service.

    Args:
        server: with every service registered, not started.
        health: its health service.
    """

    def __init__(self, server: grpc.aio.Server, health: Health) -> None:
        self.server, self.health = server, health

    async def start(self) -> None:
        """Begins to answer."""
        await self.server.start()

    def say_serving(self) -> None:
        """Tells everybody who watches its health that it serves now."""
        self.health.serving.set()

    def say_stopping(self) -> None:
        """Tells everybody who watches its health that it serves no longer."""
        self.health.stopping.set()

    async def stop(self, drain_s: float) -> None:
        """Takes no more calls, and lets running ones finish."""
        await self.server.stop(drain_s)


def options(settings: Settings) -> list[tuple[str, int]]:
    """What gRPC's core bounds, for every connection. It has no limit of connections by address."""
    age_ms = max(1, int(1000 * settings.grpc_connection_age_s))
    header_ms = max(1, int(1000 * settings.header_timeout_s))
    return [
        ("grpc.max_receive_message_length", settings.max_grpc_message_bytes),
        ("grpc.max_send_message_length", settings.max_request_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", 100),  # of one connection; more wait in the client
        ("grpc.server_handshake_timeout_ms", header_ms),  # until a new connection speaks HTTP/2
        ("grpc.max_connection_idle_ms", 60_000),  # without a call
        ("grpc.max_connection_age_ms", age_ms),  # then its client opens another, with its next call
        ("grpc.max_connection_age_grace_ms", age_ms),  # running calls get this time, then all is closed
        ("grpc.keepalive_time_ms", 60_000),  # a peer that vanished is noticed
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
