"""The two lanes of a batcher, batch by batch: queries first, and enrolls never wait for ever."""

import time

import numpy as np
import pytest

from server.batching import Batcher, Lane
from server.errors import Stopping
from tests.test_batching import Counting, crops

QUERY, ENROLL = 10, 200  # grey values that tell the lanes apart


class Recording(Counting):
    """Notes which lane each batch came from."""

    def __init__(self) -> None:
        super().__init__()
        self.served: list[str] = []

    def embed(self, crops: np.ndarray) -> np.ndarray:
        vectors = super().embed(crops)
        self.served.append("bulk" if crops[0, 0, 0, 0] == ENROLL else "interactive")
        return vectors


def served(*waiting: tuple[Lane, int]) -> list[str]:
    """The order in which an engine serves so many batches of each lane when all of them wait at once."""
    engine = Recording()
    engine.gate.clear()
    batcher = Batcher(engine, 2, max_batch=2)
    opening = batcher.submit(crops(QUERY, QUERY))
    while batcher.queued:  # until the engine holds the opening batch and everything else has to wait
        time.sleep(0.001)
    futures = [opening]
    for lane, batches in waiting:
        grey = ENROLL if lane == "bulk" else QUERY
        futures += [batcher.submit(crops(grey, grey), lane) for _ in range(batches)]
    engine.gate.set()
    for future in futures:
        future.result(5)
    batcher.close(Stopping("the server is stopping"))
    return engine.served


def test_waiting_enrolls_get_every_fifth_batch_however_many_queries_wait() -> None:
    turn = ["interactive"] * 4 + ["bulk"]
    assert served(("interactive", 14), ("bulk", 3)) == turn * 3 + ["interactive"] * 3


def test_queries_go_first_and_enrolls_have_the_rest() -> None:
    assert served(("bulk", 6), ("interactive", 2)) == ["interactive"] * 3 + ["bulk"] * 6


def test_enrolls_alone_are_served_at_once() -> None:
    assert served(("bulk", 3)) == ["interactive", "bulk", "bulk", "bulk"]


def test_a_batch_never_mixes_lanes() -> None:
    """A query must not wait for the crops of an enroll that would share its batch."""
    engine = Recording()
    engine.gate.clear()
    batcher = Batcher(engine, 2, max_batch=32)
    opening = batcher.submit(crops(QUERY))
    while batcher.queued:
        time.sleep(0.001)
    futures = [opening, batcher.submit(crops(*[ENROLL] * 20), "bulk"), batcher.submit(crops(QUERY))]
    engine.gate.set()
    for future in futures:
        future.result(5)
    batcher.close(Stopping("the server is stopping"))
    assert engine.sizes[:3] == [1, 1, 4]
    assert sum(engine.sizes) == 22


def test_while_queries_come_enrolls_are_embedded_a_few_at_a_time() -> None:
    """A query waits for the batch that is being computed, so that has to be short."""
    engine = Recording()
    engine.gate.clear()
    batcher = Batcher(engine, 2, max_batch=32)
    batcher.rate = 0.0  # crops a second: a slow engine
    opening = batcher.submit(crops(QUERY))
    while batcher.queued:
        time.sleep(0.001)
    bulk = batcher.submit(crops(*[ENROLL] * 8), "bulk")
    engine.gate.set()
    assert (opening.result(5).shape, bulk.result(5).shape) == ((1, 2), (8, 2))
    assert engine.sizes[1] == 4
    time.sleep(0.3)  # no query has come for a while
    batcher.submit(crops(*[ENROLL] * 30), "bulk").result(5)
    batcher.close(Stopping("the server is stopping"))
    assert engine.sizes[-1] == 30


def test_what_was_submitted_before_closing_is_answered() -> None:
    engine = Counting()
    engine.gate.clear()
    batcher = Batcher(engine, 2, max_batch=2)
    futures = [batcher.submit(crops(1, 2, 3), "bulk"), batcher.submit(crops(4))]
    engine.gate.set()
    batcher.close(Stopping("the server is stopping"))
    assert [future.result(0).shape for future in futures] == [(3, 2), (1, 2)]
    assert not batcher.thread.is_alive()
    with pytest.raises(Stopping, match="the server is stopping"):
        batcher.submit(crops(5))
