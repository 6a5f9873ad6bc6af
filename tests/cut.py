"""A connection that can be cut: a port that leads to another one until it is told not to."""

from __future__ import annotations

import contextlib
import socket
import threading


class Cut:
    """Listens on loopback, from `with` on, and hands bytes on in both directions.

    Args:
        port: where it leads, on loopback.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_cut = False
        self.open: list[socket.socket] = []

    def __enter__(self) -> Cut:
        """Begins to listen."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Ends every connection."""
        self.listener.close()
        self.cut()

    def cut(self) -> None:
        """Ends every connection, and accepts none."""
        self.is_cut = True
        for end in self.open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.open.clear()

    def mend(self) -> None:
        """Leads there again."""
        self.is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:  # closed
                return
            if self.is_cut:
                here.close()
                continue
            there = socket.create_connection(("127.0.0.1", self.target))
            self.open += [here, there]
            for ends in ((here, there), (there, here)):
                threading.Thread(target=_hand_on, args=ends, daemon=True).start()


def _hand_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
