"""What came of a wish that could not be had: the GPU has no memory, half precision does not agree."""

from __future__ import annotations

import dataclasses
import threading

_NO_MEMORY = ("out of memory", "failed to allocate", "cuda failure 2:", "bfcarena", "alloc_failed")


@dataclasses.dataclass(frozen=True)
class Fallback:
    """One kind of fallback that happened."""

    what: str  # like "batches computed by the CPU"
    reason: str  # of the last time
    times: int


def lacks_memory(error: Exception) -> bool:
    """Whether a runtime says by this error that a GPU has too little memory; each has words of its own."""
    return any(sign in str(error).lower() for sign in _NO_MEMORY)


class Fallbacks:
    """Keeps what happened, for whoever asks later. Any number of threads may note at once."""

    def __init__(self) -> None:
        self._by_what: dict[str, Fallback] = {}
        self._lock = threading.Lock()

    def note(self, what: str, reason: str) -> None:
        """One more time; the reason in one line."""
        with self._lock:
            before = self._by_what.get(what)
            times = 1 if before is None else before.times + 1
            self._by_what[what] = Fallback(what, " ".join(reason.split()), times)

    def all(self) -> list[Fallback]:
        """One a kind, in the order in which each happened first."""
        with self._lock:
            return list(self._by_what.values())
