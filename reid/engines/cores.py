"""How an engine shares a CPU's cores out: all of them to one batch, or a part to each of several batches.

One batch over all cores is done soonest, which is what a query wants. But its threads wait for each other
after every layer, and where one core is busy with something else, all others wait with it. Several batches at
once (streams) wait for nobody, so that bulk work is done sooner, the more so beside a server's own work.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, TypeVar, runtime_checkable

EngineT = TypeVar("EngineT", covariant=True)


@dataclasses.dataclass(frozen=True)
class Cores:
    """One way.

    Args:
        streams: batches that are computed at once; 0: one, on all threads.
        threads: of all streams together; 0: what the runtime thinks best.
    """

    streams: int = 0
    threads: int = 0

    @property
    def at_once(self) -> int:
        """Threads that should call the engine at once: one more than streams, so that none ever waits for the
        next batch."""
        return self.streams + 1 if self.streams else 1


@runtime_checkable
class SharesCores(Protocol[EngineT]):
    """An engine that can do so."""

    def with_cores(self, cores: Cores) -> EngineT:
        """A second engine of the same bundle and profile that answers the same."""
        ...
