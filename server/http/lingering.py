"""Closing a connection whose client is still sending."""

from __future__ import annotations

import asyncio
from typing import Any

LINGER_S = 2.0  # how long a client may still send after its answer
LINGER_BYTES = 16 * 1024 * 1024  # and how much


class LingeringTransport:
    """The part of a transport that uvicorn uses, with another `close`.

    A socket that is closed while bytes of its client are unread resets the connection, and the reset can
    overtake the answer. So where the request has not arrived whole, `close` ends only the server's half:
    what still comes is thrown away, for a short time, and then the connection is gone.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport, self.loop = transport, loop
        self.request_arrived = True  # kept up to date by the connection
        self.closing_since: float | None = None
        self.written = self.discarded = 0

    def write(self, data: bytes) -> None:
        """Queues bytes; nothing after `close`."""
        if self.closing_since is None:
            self.written += len(data)
            self.transport.write(data)

    def close(self) -> None:
        """Sends what is queued, then closes."""
        if self.closing_since is not None:
            return
        self.closing_since = self.loop.time()
        if self.request_arrived or self.transport.is_closing():
            self.transport.close()
            return
        if self.transport.can_write_eof():  # TLS cannot end one half
            self.transport.write_eof()
        self.transport.resume_reading()

    def discard(self, data: bytes) -> None:
        """Takes what a client sends after `close`."""
        self.discarded += len(data)
        if self.discarded > LINGER_BYTES:
            self.abort()

    def lingers_too_long(self) -> bool:
        """True when the client's half should be closed too."""
        late = self.closing_since is not None and self.loop.time() - self.closing_since > LINGER_S
        return late and not self.transport.is_closing() and self.unsent == 0

    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Closes at once; what is queued is lost."""
        if self.closing_since is None:
            self.closing_since = self.loop.time()
        self.transport.abort()

    def is_closing(self) -> bool:
        """True from `close` on."""
        return self.closing_since is not None or self.transport.is_closing()

    def pause_reading(self) -> None:
        """See asyncio.Transport."""
        if not self.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio.Transport."""
        self.transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.Transport."""
        return self.transport.get_extra_info(name, default)
