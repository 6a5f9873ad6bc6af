"""Bytes of request bodies in memory, bounded over all requests."""

from __future__ import annotations

from types import TracebackType

from server.errors import Overloaded


class Inflight:
    """How many bytes of bodies have arrived and are being worked on.

    Args:
        limit: of all requests together, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0

    def share(self) -> Share:
        """The part of one request, empty at first, for a `with` block, which gives it back at its end."""
        return Share(self)


class Share:
    """The bytes of one request."""

    def __init__(self, whole: Inflight) -> None:
        self.whole, self.bytes = whole, 0

    def add(self, count: int) -> None:
        """Counts bytes that have arrived. Raises Overloaded when there are too many of all requests."""
        if self.whole.bytes + count > self.whole.limit:
            others = self.whole.bytes - self.bytes
            raise Overloaded(
                f"{others} bytes of other requests are being worked on, and at most {self.whole.limit} are "
                f"accepted at once; try again"
            )
        self.whole.bytes += count
        self.bytes += count

    def release(self) -> None:
        """Gives everything back."""
        self.whole.bytes -= self.bytes
        self.bytes = 0

    def __enter__(self) -> Share:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives everything back."""
        self.release()
