"""Places for calls that run at once, some of them for each address."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from contextlib import contextmanager

from server.errors import Overloaded


class Places:
    """Places of calls with a key.

    Args:
        limit: of all calls. per_peer: of one address; 0 for no limit.
    """

    def __init__(self, limit: int, per_peer: int) -> None:
        self.limit, self.per_peer = limit, per_peer
        self.by_peer: collections.Counter[str] = collections.Counter()

    @contextmanager
    def place(self, peer: str) -> Iterator[None]:
        """A place for a call of this address. Raises Overloaded when there is none."""
        running, total = self.by_peer[peer], self.by_peer.total()
        if total >= self.limit:
            raise Overloaded(f"{total} gRPC calls are running; try again")
        if self.per_peer and running >= self.per_peer:
            raise Overloaded(f"{running} gRPC calls of {peer} are running; try again")
        self.by_peer[peer] += 1
        try:
            yield
        finally:
            self.by_peer[peer] -= 1
            if not self.by_peer[peer]:
                del self.by_peer[peer]


def peer_of(name: str) -> str:
    """What gRPC calls a peer, like `ipv4:10.0.0.1:4242`, without its port."""
    return name.rpartition(":")[0]
