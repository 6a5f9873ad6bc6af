"""How a request ended: answered, failed, or left by its client; counted in every case."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import FAILURE, Problem
from server.http.problems import answer
from server.telemetry import Telemetry

log = logging.getLogger("resight")


class Outcomes:
    """Counts requests by route and outcome, and ends a request that failed, and nothing but that request.

    The outcome is the status; `disconnected` when the client left before its answer was complete;
    `cancelled` when the server stopped before. An exception is logged and answered with 500. Where the answer
    had begun, it stays incomplete, and the server closes the connection so that its client notices.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app, self.telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, complete = time.perf_counter(), 0, False
        outcome = ""

        async def noted(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except ClientDisconnect:
            pass
        except Exception as error:
            log.exception("%s %r failed", scope["method"], scope["path"], exc_info=error)
            outcome = "500"
            if not status:
                await answer(Problem(FAILURE).body())(scope, receive, noted)
        finally:
            outcome = outcome or (str(status) if complete else "disconnected")
            route = scope.get("route")
            call = f"{scope['method']} {getattr(route, 'path', 'other')}"
            self.telemetry.requests.labels(call, outcome).inc()
            self.telemetry.seconds.labels(call).observe(time.perf_counter() - began)
