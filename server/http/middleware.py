"""Around every request: limits on bodies before memory grows, and metrics."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import Overloaded, Problem, TooLarge
from server.http.problems import answer
from server.telemetry import Telemetry


class BodyLimits:
    """Refuses a body that is too large, and any body while too many bytes are being worked on already.

    Args:
        max_bytes: of one body, declared or not. max_inflight: of all bodies together.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_inflight: int) -> None:
        self.app, self.max_bytes, self.max_inflight = app, max_bytes, max_inflight
        self.inflight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held = 0

        def hold(total: int) -> None:
            """Counts `total` bytes of this request from now on."""
            nonlocal held
            if total > self.max_bytes:
                raise TooLarge(
                    f"the request's body is larger than {self.max_bytes} bytes; send fewer images at once"
                )
            if self.inflight + total - held > self.max_inflight:
                raise Overloaded(f"{self.inflight} bytes of other requests are being worked on; try again")
            self.inflight, held = self.inflight + total - held, total

        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > held:
                hold(received)
            return message

        try:
            declared = dict(scope["headers"]).get(b"content-length", b"0")
            hold(int(declared) if declared.isdigit() else 0)
            await self.app(scope, counted, send)
        except Problem as problem:  # only from the declared length: what the app raises, the app answers
            await answer(problem.body())(scope, receive, send)
        finally:
            self.inflight -= held


class Metrics:
    """Counts requests by route and outcome."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app, self.telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            route = scope.get("route")
            call = f"{scope['method']} {getattr(route, 'path', 'other')}"
            self.telemetry.requests.labels(call, str(status)).inc()
            self.telemetry.seconds.labels(call).observe(time.perf_counter() - began)
