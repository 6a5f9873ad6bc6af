"""The queries that the engines of a server have now: bulk work of any of them yields to queries of all."""

from __future__ import annotations

import math
import threading
import time

EXPECTED_S = 0.25  # how long after a query others are expected


class Queries:
    """Counts them."""

    def __init__(self) -> None:
        self.pending, self.last = 0, -math.inf  # `last`: on the clock of `time.monotonic`
        self.lock = threading.Lock()

    def begin(self) -> None:
        """One has come."""
        with self.lock:
            self.pending, self.last = self.pending + 1, time.monotonic()

    def end(self) -> None:
        """One is done, however it ended."""
        with self.lock:
            self.pending, self.last = self.pending - 1, time.monotonic()

    def expected_for(self) -> float:
        """Seconds for which queries are expected; none: 0."""
        if self.pending:
            return EXPECTED_S
        return max(0.0, self.last + EXPECTED_S - time.monotonic())
