"""A gRPC client out of bare HTTP/2 frames (RFC 9113), which can do what no library does: not read."""

from __future__ import annotations

import contextlib
import socket
import struct
from types import TracebackType

import grpc

DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE = 1, 4
_STATUS = b"grpc-status"


class BareClient:
    """A connection. It answers pings and settings, so that the server believes it alive.

    Args:
        window: bytes that the server may send of each answer.
        address: that the connection comes from.
    """

    def __init__(self, port: int, window: int = 65_535, address: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(address, 0))
        self.next_stream = 1
        # without a table, the server writes each header in full, and what it says can be read here
        settings = struct.pack(">HIHI", _HEADER_TABLE_SIZE, 0, _INITIAL_WINDOW_SIZE, window)
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, settings))

    def __enter__(self) -> BareClient:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.socket.close()

    def call(self, method: str, message: bytes) -> int:
        """Sends a whole call, whose answer is not waited for; returns the number of its stream."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        names = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "test"}
        names |= {"te": "trailers", "content-type": "application/grpc"}
        block = b""
        for name, value in names.items():
            block += b"\0" + _literal(name) + _literal(value)
        body = struct.pack(">BI", 0, len(message)) + message
        self.socket.sendall(
            _frame(HEADERS, _END_HEADERS, stream, block) + _frame(DATA, _END_STREAM, stream, body)
        )
        return stream

    def frame(self) -> tuple[int, int, bytes]:
        """The next frame of the server: kind, stream, payload. Raises EOFError at the connection's end."""
        head = self._read(9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        payload = self._read(int.from_bytes(head[:3], "big"))
        if kind in (PING, SETTINGS) and not flags & _ACK:
            self.socket.sendall(_frame(kind, _ACK, 0, payload if kind == PING else b""))
        return kind, stream, payload

    def read_to_the_end(self) -> None:
        """Waits until the server closes the connection."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self.frame()

    def answer(self, stream: int) -> bytes:
        """The first bytes of a call's answer; empty where the call ended without one."""
        while True:
            kind, of, payload = self.frame()
            if of == stream and kind == DATA:
                return payload
            if of == stream and kind == HEADERS and status_of(payload) is not None:
                return b""

    def refusal(self, stream: int) -> grpc.StatusCode:
        """The status of a call that ends without an answer."""
        while True:
            kind, of, payload = self.frame()
            assert (kind, of) != (DATA, stream)
            status = status_of(payload) if (kind, of) == (HEADERS, stream) else None
            if status is not None:
                return status

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = self.socket.recv(count - len(content))
            if not part:
                raise EOFError
            content += part
        return content


def status_of(headers: bytes) -> grpc.StatusCode | None:
    """The status of a call whose trailers these are; None for other headers."""
    _, name, value = headers.partition(_STATUS)
    if not name:
        return None
    number = int(value[1 : 1 + value[0]])  # behind its length
    return next(status for status in grpc.StatusCode if status.value[0] == number)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(text: str) -> bytes:
    """A short text as HPACK writes it (RFC 7541, section 5.2), not compressed."""
    return bytes([len(text)]) + text.encode()
