"""Calls that need no key: health and reflection. There is room for a few; a new one ends the oldest."""

from __future__ import annotations

import asyncio
from typing import Any

from server.errors import Overloaded


class OpenCalls:
    """Calls of strangers.

    A stranger can take another stranger's place, and no more: nobody is kept out, and nothing grows. An
    address that has three quarters of the places takes only its own.

    Args:
        limit: calls at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.per_peer = limit, limit * 3 // 4
        self.running: dict[asyncio.Task[Any], str] = {}  # in order of their beginning, with their address

    async def run(self, work: Any, peer: str) -> Any:
        """Awaits a coroutine for an address. Raises Overloaded when a newer call took its place."""
        same = [task for task, other in self.running.items() if other == peer]
        if len(same) >= self.per_peer:
            self._end(same[0])
        elif len(self.running) >= self.limit:
            self._end(next(iter(self.running)))
        task = asyncio.ensure_future(work)
        self.running[task] = peer
        try:
            return await task
        except asyncio.CancelledError:
            if task in self.running:  # the caller has gone or does not read, or the server stops
                task.cancel()
                raise
            raise Overloaded(
                f"a newer call took the place of this one: without a key, {self.per_peer} of one address and "
                f"{self.limit} of all may run at once; try again"
            ) from None
        finally:
            self.running.pop(task, None)

    def _end(self, task: asyncio.Task[Any]) -> None:
        del self.running[task]
        task.cancel()
