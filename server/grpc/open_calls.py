"""Calls that need no key: health and reflection. There is room for a few; a new one ends the oldest."""

from __future__ import annotations

import asyncio
from typing import Any

from server.errors import Overloaded


class OpenCalls:
    """Calls of strangers.

    A stranger can take another stranger's place, and no more: nobody is kept out, and nothing grows.

    Args:
        limit: calls at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running: dict[asyncio.Task[Any], None] = {}  # in order of their beginning

    async def run(self, work: Any) -> Any:
        """Awaits a coroutine. Raises Overloaded when a newer call took its place."""
        while len(self.running) >= self.limit:
            oldest = next(iter(self.running))
            del self.running[oldest]
            oldest.cancel()
        task = asyncio.ensure_future(work)
        self.running[task] = None
        try:
            return await task
        except asyncio.CancelledError:
            if task in self.running:  # the caller has gone, or the server stops
                task.cancel()
                raise
            raise Overloaded(f"more than {self.limit} calls without a key are running; try again") from None
        finally:
            self.running.pop(task, None)
