"""How many HTTP connections there may be, and which one makes room when there are too many.

A connection is a stranger until a request on it carried a key that was accepted; from then on it is known.
Strangers never take a known connection's place, and known connections leave a quarter of all places to
strangers, so that a new client and `/health` always get in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.errors import Overloaded

if TYPE_CHECKING:
    from server.http.connection import Connection


class Connections:
    """The open connections.

    Args:
        limit: of all connections. per_peer: of one address; 0 for no limit.
    """

    def __init__(self, limit: int, per_peer: int) -> None:
        self.limit, self.per_peer = limit, per_peer
        self.known_limit = limit - max(1, limit // 4)
        # both in order: strangers by their age, known ones by their last request
        self.strangers: dict[Connection, None] = {}
        self.known: dict[Connection, None] = {}

    def __len__(self) -> int:
        """Open connections."""
        return len(self.strangers) + len(self.known)

    def admit(self, connection: Connection) -> None:
        """Adds a new connection; where there are too many, the oldest stranger is closed for it.

        Raises Overloaded when every connection of its peer, or of all, is known.
        """
        peer = connection.peer
        if self.per_peer and self._count(peer) >= self.per_peer:
            self._close_oldest_stranger(peer, f"{self.per_peer} connections of {peer}")
        if len(self) >= self.limit:
            self._close_oldest_stranger(None, f"{self.limit} connections")
        self.strangers[connection] = None

    def recognise(self, connection: Connection) -> None:
        """Notes that a request on this connection carried an accepted key.

        Raises Overloaded when too many known connections have a request running.
        """
        if connection in self.known:
            del self.known[connection]
        elif len(self.known) >= self.known_limit:
            idle = next((other for other in self.known if other.is_idle), None)
            if idle is None:
                raise Overloaded(f"{self.known_limit} connections have a request running; try again")
            self._close(idle)
        self.strangers.pop(connection, None)
        self.known[connection] = None

    def forget(self, connection: Connection) -> None:
        """Removes a connection that was closed."""
        self.strangers.pop(connection, None)
        self.known.pop(connection, None)

    def _count(self, peer: str) -> int:
        return sum(1 for group in (self.strangers, self.known) for other in group if other.peer == peer)

    def _close_oldest_stranger(self, peer: str | None, what: str) -> None:
        for stranger in self.strangers:
            if peer is None or stranger.peer == peer:
                self._close(stranger)
                return
        raise Overloaded(f"there are {what} already; try again, or keep connections open")

    def _close(self, connection: Connection) -> None:
        self.forget(connection)
        connection.transport.abort()
