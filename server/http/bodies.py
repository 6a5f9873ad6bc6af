"""Bodies of requests: counted as they arrive, bounded in size and time."""

from __future__ import annotations

import time

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import Problem, RequestTimeout, TooLarge
from server.http.connection import KEY
from server.http.pace import Pace
from server.http.problems import answer
from server.inflight import Inflight
from server.settings import Settings


class BodyLimits:
    """Refuses a body that is too large, comes too slowly, or would be too much beside all others.

    Only bytes that have arrived are counted. A length that is declared is compared with the limit of one
    body, and reserves nothing.
    """

    def __init__(self, app: ASGIApp, settings: Settings, inflight: Inflight) -> None:
        self.app, self.settings, self.inflight = app, settings, inflight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        connection = scope.get(KEY)

        async def ending(message: Message) -> None:
            # What is left of a body that was answered before it came would be read for nothing.
            if message["type"] == "http.response.start" and connection and connection.body_missing(scope):
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.settings.max_request_bytes:
            await answer(self._too_large().body())(scope, receive, ending)
            return
        with self.inflight.share() as share:
            body = _Body(self.settings)

            async def counted() -> Message:
                message = await body.next(receive)
                share.add(len(message.get("body", b"")))
                if share.bytes > self.settings.max_request_bytes:
                    raise self._too_large()
                return message

            await self.app(scope, counted, ending)

    def _too_large(self) -> Problem:
        limit = self.settings.max_request_bytes
        return TooLarge(f"the request's body is larger than {limit} bytes; send fewer images at once")


class _Body:
    """How long the server has waited for one body."""

    def __init__(self, settings: Settings) -> None:
        self.total_s = settings.body_timeout_s
        self.pace = Pace(settings.pace_window_s, settings.min_bytes_per_s)
        self.waited_s, self.arrived = 0.0, False

    async def next(self, receive: Receive) -> Message:
        """The next message of a request. Raises RequestTimeout when its body comes too slowly."""
        if self.arrived:  # what follows is the news that the client has gone
            return await receive()
        while True:
            message = await self._within(receive, min(self.pace.left_s(self.waited_s), self._left_s))
            if message is not None and not message.get("more_body", False):
                self.arrived = True
                return message
            if self.pace.is_late(self.waited_s):
                raise RequestTimeout(
                    f"less than {self.pace.least:g} bytes of the request's body came within "
                    f"{self.pace.window_s:g} s"
                )
            if self._left_s <= 0:
                raise RequestTimeout(f"the request's body was not complete after {self.total_s:g} s")
            if message is not None:
                return message

    @property
    def _left_s(self) -> float:
        return self.total_s - self.waited_s

    async def _within(self, receive: Receive, seconds: float) -> Message | None:
        """The next message, or None where none came in time."""
        began = time.monotonic()
        message: Message | None = None
        with anyio.move_on_after(max(seconds, 0.0)):
            message = await receive()
            self.pace.move(len(message.get("body", b"")))
        self.waited_s += time.monotonic() - began
        return message
