"""A server's queue, simulated: queries that come at random pass the event loop, the batcher and the search.

Three stations share the cores of one machine. The event loop serves one query at a time, before and after
the others' work in one piece here; the batcher gives its engine what waits, at most so many crops at once;
each search takes one core. Where the stations want more cores than there are, all become slower alike.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque

import numpy as np

_SURELY_LOST = 200  # queries that wait at once: more come than are answered, so the rest is not simulated


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a query takes of a machine.

    Args:
        loop_s: seconds of the event loop: receiving, decoding, answering.
        first_s: of the engine for one crop. each_s: of it for each further crop of a batch.
        engine_cores: that the engine keeps busy meanwhile.
        search_s: of one search on one core.
        cores: of the machine, without what other work takes.
        batch: crops at once, at most. searches: at once, at most.
    """

    loop_s: float
    first_s: float
    each_s: float
    engine_cores: float
    search_s: float
    cores: float
    batch: int = 32
    searches: int = 4

    @property
    def most(self) -> float:
        """Queries a second that no machine with these rates can go beyond: its slowest station, or all of
        its cores together."""
        engine_s = (self.first_s + (self.batch - 1) * self.each_s) / self.batch
        work_s = self.loop_s + engine_s * self.engine_cores + self.search_s
        return min(
            1 / self.loop_s,
            1 / engine_s,
            min(self.searches, self.cores) / max(self.search_s, 1e-9),
            self.cores / work_s,
        )


@dataclasses.dataclass
class _Task:
    """Work at a station: seconds that are left where it gets the cores that it wants."""

    queries: list[int]
    left_s: float
    cores: float


def simulate(rates: Rates, per_s: float, queries: int, seed: int = 0) -> np.ndarray:
    """Seconds float64 [queries] from the coming of each query to its answer, where `per_s` come a second, at
    random (Poisson). Infinite for those that come when more queries wait than a server would let."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / per_s, queries))
    ended = np.full(queries, math.inf)
    at_loop: deque[int] = deque()
    at_engine: deque[int] = deque()
    at_search: deque[int] = deque()
    loop: _Task | None = None
    engine: _Task | None = None
    searches: list[_Task] = []
    now, coming = 0.0, 0
    while True:
        if len(at_loop) + len(at_engine) + len(at_search) > _SURELY_LOST:
            break
        if loop is None and at_loop:
            loop = _Task([at_loop.popleft()], rates.loop_s, 1.0)
        if engine is None and at_engine:
            taken = [at_engine.popleft() for _ in range(min(rates.batch, len(at_engine)))]
            seconds = rates.first_s + (len(taken) - 1) * rates.each_s
            engine = _Task(taken, seconds, rates.engine_cores)
        while at_search and len(searches) < rates.searches:
            searches.append(_Task([at_search.popleft()], rates.search_s, 1.0))
        tasks = [task for task in (loop, engine, *searches) if task is not None]
        if not tasks and coming == queries:
            break
        speed = min(1.0, rates.cores / sum(task.cores for task in tasks)) if tasks else 1.0
        until = min((task.left_s / speed for task in tasks), default=math.inf)
        if coming < queries:
            until = min(until, arrivals[coming] - now)
        now += until
        for task in tasks:
            task.left_s -= until * speed
        if coming < queries and arrivals[coming] <= now + 1e-12:
            at_loop.append(coming)
            coming += 1
        if loop is not None and loop.left_s <= 1e-12:
            at_engine.extend(loop.queries)
            loop = None
        if engine is not None and engine.left_s <= 1e-12:
            at_search.extend(engine.queries)
            engine = None
        for task in [task for task in searches if task.left_s <= 1e-12]:
            searches.remove(task)
            ended[task.queries] = now
    return ended - arrivals


def most_within(rates: Rates, p99_s: float, queries: int = 4_000, seed: int = 0) -> float:
    """Queries a second, to a hundredth of what is possible at all, of which 99 % are answered within
    `p99_s`; 0 where not even one after the other is."""
    low, high = 0.0, 1.0
    while high - low > 0.01:
        share = (low + high) / 2
        seconds = simulate(rates, share * rates.most, queries, seed)
        if np.percentile(seconds, 99, method="higher") <= p99_s:
            low = share
        else:
            high = share
    return low * rates.most
