"""How slowly a client may send a body or read an answer."""

from __future__ import annotations


class Pace:
    """A lowest rate, averaged over one stretch of time after another, so that short pauses are forgiven.

    Args:
        window_s: length of a stretch in seconds. bytes_per_s: the lowest average over it.
    """

    def __init__(self, window_s: float, bytes_per_s: float) -> None:
        self.window_s, self.least = window_s, window_s * bytes_per_s
        self.end_s, self.moved = window_s, 0

    def move(self, count: int) -> None:
        """Notes bytes that were sent or read."""
        self.moved += count

    def left_s(self, elapsed_s: float) -> float:
        """Seconds until the present stretch ends, `elapsed_s` seconds after the first began."""
        return self.end_s - elapsed_s

    def is_late(self, elapsed_s: float) -> bool:
        """True when a stretch has ended in which too little moved; otherwise the next one may begin."""
        if elapsed_s < self.end_s:
            return False
        if self.moved < self.least:
            return True
        self.end_s, self.moved = elapsed_s + self.window_s, 0
        return False
