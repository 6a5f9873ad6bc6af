"""The HTTP server: uvicorn with our connections, without its own signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator
from types import FrameType
from typing import Any, cast

import uvicorn

from server.http.connection import Connection
from server.http.connections import Connections
from server.settings import Settings
from server.telemetry import Telemetry

_CHECK_S = 0.25  # between two looks at what is late


class HttpServer(uvicorn.Server):
    """Serves an ASGI application.

    Signals are left alone: there is one process, and one place in it that hears them.
    """

    def __init__(self, app: Any, settings: Settings, telemetry: Telemetry) -> None:
        connections = Connections(settings.max_connections, settings.max_connections_per_peer)
        telemetry.watch_connections(connections)
        protocol = functools.partial(Connection, settings=settings, connections=connections)
        super().__init__(
            uvicorn.Config(
                app,
                settings.host,
                settings.port,
                http=cast("type[asyncio.Protocol]", protocol),
                ws="none",  # there is no WebSocket route, and a library for it would pass by our limits
                log_config=None,  # its lines go where ours go
                log_level="error",  # its warnings are about requests of strangers
                access_log=False,
                timeout_keep_alive=cast(int, settings.keep_alive_s),
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=str(settings.tls_key) if settings.tls_key is not None else None,
                timeout_graceful_shutdown=int(settings.drain_s),
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until `should_exit`, then lets running requests finish."""
        checking = asyncio.create_task(self._close_what_is_late())
        try:
            await super().serve(sockets)
        finally:
            checking.cancel()

    async def _close_what_is_late(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            for connection in list(self.server_state.connections):
                cast(Connection, connection).check()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures nothing."""
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Nothing to handle."""
