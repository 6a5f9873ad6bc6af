"""The batcher: answers in order, a poisoned crop fails alone, bounded queue, lanes."""

import threading
import time

import numpy as np
import pytest

from reid.engines import EngineInfo
from server.batching import Batcher, EmbedError, best_batch
from server.errors import EngineClosed, Overloaded, Stopping

POISON = 255


class CountingRows:
    """Adds what a crop's table holds to its mean; raises for a poisoned table."""

    layers = ("only",)

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.seen: list[tuple[list[int], int]] = []  # rows and number of tables of each batch

    def embed(self, crops: np.ndarray, rows: np.ndarray, tables: np.ndarray) -> np.ndarray:
        self.gate.wait(10)
        assert (rows.dtype, tables.shape[1:]) == (np.int32, (2, 1))
        self.seen.append((rows.tolist(), len(tables)))
        if (tables[rows] == POISON).any():
            raise RuntimeError("this table is poison")
        mean = crops.mean(axis=(1, 2, 3)) + tables[rows, 0, 0]
        return np.stack([mean, np.ones_like(mean)], 1).astype(np.float32)

    def describe(self) -> EngineInfo:
        return EngineInfo("counting", "0", "none", "cpu", "fp32")


def table(value: int) -> np.ndarray:
    """A packed table of one channel."""
    return np.full((2, 1), value, np.float32)


class Counting:
    """A deterministic engine: the mean of a crop is its embedding. Raises when a batch holds a poisoned
    crop."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.sizes: list[int] = []
        self.gate, self.delay_s = threading.Event(), delay_s
        self.gate.set()

    def embed(self, crops: np.ndarray) -> np.ndarray:
        self.gate.wait(10)
        time.sleep(self.delay_s)
        if (crops == POISON).all(axis=(1, 2, 3)).any():
            raise RuntimeError("this crop is poison")
        self.sizes.append(len(crops))
        mean = crops.mean(axis=(1, 2, 3))
        return np.stack([mean, np.ones_like(mean)], 1).astype(np.float32)

    def with_profile(self, profile: object) -> "Counting":
        return self

    def describe(self) -> EngineInfo:
        return EngineInfo("counting", "0", "none", "cpu", "fp32")


def crops(*values: int) -> np.ndarray:
    """Plain grey crops."""
    return np.stack([np.full((4, 4, 3), v, np.uint8) for v in values])


def expected(*values: int) -> np.ndarray:
    """What Counting answers for them, at unit length."""
    raw = np.array([[v, 1.0] for v in values])
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def test_requests_of_any_size_get_their_own_rows_back() -> None:
    engine = Counting()
    batcher = Batcher(engine, 2, max_batch=4)
    wanted = [list(range(1, n + 1)) for n in (1, 9, 3, 4, 17)]
    for values, future in [(values, batcher.submit(crops(*values), "bulk")) for values in wanted]:
        assert future.result(5) == pytest.approx(expected(*values), abs=1e-6)
    assert max(engine.sizes) <= 4
    assert (batcher.queued, batcher.crops) == (0, sum(len(values) for values in wanted))


def test_requests_that_wait_share_a_batch() -> None:
    engine = Counting()
    engine.gate.clear()
    batcher = Batcher(engine, 2, max_batch=32)
    futures = [batcher.submit(crops(1)) for _ in range(20)]
    engine.gate.set()
    for future in futures:
        future.result(5)
    assert len(engine.sizes) <= 2


def test_a_poisoned_crop_fails_alone() -> None:
    engine = Counting()
    engine.gate.clear()
    batcher = Batcher(engine, 2, max_batch=32)
    good, bad = batcher.submit(crops(1, 2, 3)), batcher.submit(crops(4, POISON, 6))
    engine.gate.set()
    assert good.result(5) == pytest.approx(expected(1, 2, 3), abs=1e-6)
    with pytest.raises(EmbedError) as caught:
        bad.result(5)
    assert list(caught.value.rows) == [1]
    assert batcher.submit(crops(9)).result(5) == pytest.approx(expected(9), abs=1e-6)


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    engine = Counting()
    engine.gate.clear()
    batcher = Batcher(engine, 2, max_batch=2, max_queued=10)
    futures = [batcher.submit(crops(1, 2)) for _ in range(5)]
    while batcher.queued > 8:  # until the worker has taken the first two
        time.sleep(0.001)
    futures.append(batcher.submit(crops(1, 2)))
    with pytest.raises(Overloaded) as caught:
        batcher.submit(crops(1, 2))
    assert caught.value.facts["retry_after_s"] >= 1
    engine.gate.set()
    for future in futures:
        future.result(5)
    assert batcher.queued == 0
    batcher.submit(crops(1)).result(5)


def test_who_is_refused_hears_how_long_the_engine_takes_for_what_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0

    class Slow(Counting):
        def embed(self, crops: np.ndarray) -> np.ndarray:
            nonlocal now
            now += 0.5 * len(crops)  # two crops a second
            return super().embed(crops)

    monkeypatch.setattr("server.batching.time.perf_counter", lambda: now)
    engine = Slow()
    batcher = Batcher(engine, 2, max_batch=2, max_queued=10)
    for _ in range(100):
        batcher.submit(crops(1, 2)).result(5)
    engine.gate.clear()
    waiting = [batcher.submit(crops(1, 2))]
    while batcher.queued:  # until the engine holds these
        time.sleep(0.001)
    waiting += [batcher.submit(crops(1, 2)) for _ in range(5)]
    with pytest.raises(Overloaded, match=r"10 crops are waiting .* try again in 5 s") as caught:
        batcher.submit(crops(1))
    assert caught.value.facts["retry_after_s"] == 5
    engine.gate.set()
    for future in waiting:
        future.result(5)


def test_a_query_overtakes_waiting_enrolls_which_still_get_their_turn() -> None:
    engine = Counting(delay_s=0.005)
    batcher = Batcher(engine, 2, max_batch=4)
    order: list[str] = []
    bulk = batcher.submit(crops(*range(1, 81)), "bulk")
    bulk.add_done_callback(lambda _: order.append("bulk"))
    batcher.submit(crops(7)).add_done_callback(lambda _: order.append("query"))
    assert bulk.result(10).shape == (80, 2)
    time.sleep(0.05)
    assert order == ["query", "bulk"]


def test_a_batch_that_cannot_be_joined_fails_alone_and_nobody_waits_for_ever() -> None:
    engine = Counting()
    engine.gate.clear()
    batcher = Batcher(engine, 2, max_batch=8)
    first = batcher.submit(crops(1))
    while batcher.queued:  # until the engine has it
        time.sleep(0.001)
    unlucky = [batcher.submit(crops(2, 3)), batcher.submit(np.zeros((20, 8, 4, 3), np.uint8))]
    engine.gate.set()
    assert first.result(5) == pytest.approx(expected(1), abs=1e-6)
    for future in unlucky:
        with pytest.raises(ValueError, match="dimension"):
            future.result(5)
    assert batcher.queued == 0
    assert batcher.submit(crops(9)).result(5) == pytest.approx(expected(9), abs=1e-6)


def test_an_engine_that_loses_rows_is_no_answer() -> None:
    class Losing(Counting):
        def embed(self, crops: np.ndarray) -> np.ndarray:
            return super().embed(crops)[: 1 if len(crops) == 2 else None]

    batcher = Batcher(Losing(), 2, max_batch=2)
    assert batcher.submit(crops(1, 2)).result(5) == pytest.approx(expected(1, 2), abs=1e-6)


def test_a_closed_batcher_says_why() -> None:
    pushed_out, ended = Batcher(Counting(), 2), Batcher(Counting(), 2)
    pushed_out.close(EngineClosed("the engine was closed to make room"))
    ended.close()
    with pytest.raises(EngineClosed, match="to make room"):
        pushed_out.submit(crops(1))
    with pytest.raises(Stopping, match="the server is stopping"):
        ended.submit(crops(1))


def test_cancelled_requests_are_skipped() -> None:
    engine = Counting()
    engine.gate.clear()
    batcher = Batcher(engine, 2, max_batch=2)
    first, second, third = (batcher.submit(crops(v, v)) for v in (1, 2, 3))
    assert second.cancel()
    engine.gate.set()
    first.result(5)
    third.result(5)
    assert sum(engine.sizes) == 4
    assert batcher.queued == 0


@pytest.mark.parametrize(("per_batch", "per_crop", "expected"), [(0.02, 0.0, 32), (0.0, 0.002, 8)])
def test_the_batch_grows_only_while_that_pays(
    per_batch: float, per_crop: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    class Timed(Counting):
        def embed(self, crops: np.ndarray) -> np.ndarray:
            nonlocal now
            now += per_batch + per_crop * len(crops)
            return super().embed(crops)

    monkeypatch.setattr("server.batching.time.perf_counter", lambda: now)
    assert best_batch(Timed(), 8, 4) == expected


def test_every_crop_keeps_its_table_and_equal_ones_are_sent_once() -> None:
    engine, door, hall = CountingRows(), table(10), table(20)
    batcher = Batcher(engine, 2, max_batch=4)
    opening = batcher.submit(crops(1), rows=[door])
    while batcher.queued:
        time.sleep(0.001)
    futures = [
        batcher.submit(crops(1, 2, 3), rows=[door, hall, door]),
        batcher.submit(crops(4, 5), rows=[hall, table(30)]),
    ]
    engine.gate.set()
    assert opening.result(5) == pytest.approx(expected(11), abs=1e-6)
    assert futures[0].result(5) == pytest.approx(expected(11, 22, 13), abs=1e-6)
    assert futures[1].result(5) == pytest.approx(expected(24, 35), abs=1e-6)
    assert engine.seen == [([0], 1), ([0, 1, 0, 1], 2), ([0], 1)]


def test_a_crop_whose_table_fails_fails_alone() -> None:
    engine = CountingRows()
    engine.gate.set()
    rows = [table(10), table(20), table(POISON), table(30), table(40)]
    with pytest.raises(EmbedError) as caught:
        Batcher(engine, 2).submit(crops(1, 2, 3, 4, 5), rows=rows).result(5)
    assert list(caught.value.rows) == [2]


def test_crops_without_tables_are_refused_where_tables_are_needed_and_the_other_way_round() -> None:
    for batcher, rows in ((Batcher(CountingRows(), 2), None), (Batcher(Counting(), 2), [table(1)])):
        with pytest.raises(ValueError, match="1 crops with"):
            batcher.submit(crops(1), rows=rows)
        assert batcher.queued == 0
