"""One HTTP connection: uvicorn's, with deadlines and limits for clients that nobody knows yet."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from server.errors import BadRequest, HeadersTooLarge, Overloaded, Problem, RequestTimeout
from server.http.connections import Connections
from server.http.lingering import LingeringTransport
from server.http.pace import Pace
from server.http.problems import answer
from server.settings import Settings

KEY = "resight.connection"  # where a request's scope has its connection
_MAX_HEADERS = 128
_MAX_PIPELINED = 16  # requests that wait for the answer to an earlier one
_OVERHEAD = 8  # bytes of chunk framing that are accepted for each byte of a body


@dataclasses.dataclass
class _Reading:
    """How a client takes an answer that it has not read yet."""

    pace: Pace
    since: float  # loop time
    sent: int  # bytes that had gone out when we last looked


class Connection(HttpToolsProtocol):
    """A client's connection. `check` has to be called now and then; it closes what is late."""

    transport: LingeringTransport  # type: ignore[assignment]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        settings: Settings,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.settings, self.all = settings, connections
        self.head_since: float | None = None  # when the headers began that have not ended yet
        self.head_bytes = 0  # of the request that is being received
        self.fed_bytes = self.body_bytes = 0  # of it as well: all that came, and the part that is body
        self.reading: _Reading | None = None  # while the client is behind with an answer
        self.refused: Problem | None = None

    @property
    def peer(self) -> str:
        """The address of the other end, without its port."""
        return self.client[0] if self.client else ""

    @property
    def is_idle(self) -> bool:
        """True between two requests."""
        return (self.cycle is None or self.cycle.response_complete) and self.head_since is None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admits the connection or refuses it."""
        super().connection_made(cast(asyncio.Transport, LingeringTransport(transport, self.loop)))
        self.head_since = self.loop.time()
        try:
            self.all.admit(self)
        except Overloaded as problem:
            self.refuse(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        """Makes room for another."""
        self.all.forget(self)
        self.transport.abort()  # uvicorn would close it once more
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what came, as long as it is worth it."""
        if self.transport.is_closing():
            self.transport.discard(data)
            return
        if self.head_since is None and self.transport.request_arrived:
            self.head_since = self.loop.time()
        self.fed_bytes += len(data)
        super().data_received(data)
        overhead = self.fed_bytes - self.body_bytes * (1 + _OVERHEAD)
        if overhead > self.settings.max_header_bytes + len(data) and not self.transport.is_closing():
            self.refuse(self._too_large())

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope[KEY] = self  # type: ignore[literal-required]
        self.transport.request_arrived = False
        self.head_bytes = self.fed_bytes = self.body_bytes = 0
        if self.head_since is None:
            self.head_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer of a chunked body."""
        super().on_header(name, value)
        self._count_head(len(name) + len(value) + 4)
        if len(self.headers) > _MAX_HEADERS:
            self.refused = HeadersTooLarge(f"the request has more than {_MAX_HEADERS} headers")
            raise self.refused

    def on_headers_complete(self) -> None:
        """The request can be answered."""
        if len(self.pipeline) >= _MAX_PIPELINED:
            self.refused = Overloaded(f"more than {_MAX_PIPELINED} requests wait on one connection")
            raise self.refused
        if self.parser.should_upgrade() and self._has_body():
            # The parser would take the body for what the other protocol says, and drop it.
            self.refused = BadRequest("a request with a body must not have an Upgrade header: HTTP/1.1 only")
            raise self.refused
        self.head_since = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Bytes of a body."""
        self.body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived whole."""
        self.transport.request_arrived = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out. Headers that were not read meanwhile get their time from now on."""
        if self.head_since is not None:
            self.head_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what could not be parsed."""
        self.refuse(self.refused or BadRequest("this is not a valid HTTP/1.1 request"))

    def refuse(self, problem: Problem) -> None:
        """Answers with a problem and closes. Only closes where the client would take the answer for that of
        another request."""
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if answering and (self.head_since is not None or self.pipeline or cycle.response_started):
            self.transport.abort()
            return
        response = answer(problem.body())
        lines = [b"HTTP/1.1 %d %s" % (problem.status, problem.title.encode()), b"connection: close"]
        lines += [b": ".join(header) for header in response.raw_headers]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()

    def check(self) -> None:
        """Closes the connection when its client is late."""
        now = self.loop.time()
        if self._reads_too_slowly(now) or self.transport.lingers_too_long():
            self.transport.abort()
        elif self.head_since is not None and not self.transport.is_closing() and not self.flow.read_paused:
            limit = self.settings.header_timeout_s
            if now - self.head_since <= limit:
                return
            if self.transport.request_arrived:  # nothing of a request came
                self.transport.close()
            else:
                self.refuse(RequestTimeout(f"the request's headers did not end within {limit:g} s"))

    def body_missing(self, scope: Any) -> bool:
        """True while the body of this request has not arrived whole."""
        return self.scope is scope and not self.transport.request_arrived

    def _reads_too_slowly(self, now: float) -> bool:
        if not self.transport.unsent or not (self.flow.write_paused or self.transport.is_closing()):
            self.reading = None
            return False
        sent = self.transport.written - self.transport.unsent
        if self.reading is None:
            pace = Pace(self.settings.pace_window_s, self.settings.min_bytes_per_s)
            self.reading = _Reading(pace, now, sent)
        self.reading.pace.move(sent - self.reading.sent)
        self.reading.sent = sent
        return self.reading.pace.is_late(now - self.reading.since)

    def _has_body(self) -> bool:
        lengths = (b"content-length", b"transfer-encoding")
        return any(name in lengths and value != b"0" for name, value in self.headers)

    def _count_head(self, count: int) -> None:
        self.head_bytes += count
        if self.head_bytes > self.settings.max_header_bytes:
            self.refused = self._too_large()
            raise self.refused

    def _too_large(self) -> Problem:
        limit = self.settings.max_header_bytes
        return HeadersTooLarge(f"the request's line, headers and framing are larger than {limit} bytes")

    def _unsupported_upgrade_warning(self) -> None:
        """An Upgrade header is ignored, as HTTP allows; no line in the log for each."""
