"""Dynamic batching: one thread in front of one engine, with two lanes. A crop that fails, fails alone.

Batches form from what has arrived: while the engine works on one, the next gathers. Nobody waits for a timer.
Queries (interactive) go before enrolls (bulk); every few batches, waiting enrolls get their turn.

While no queries come, bulk work may have an engine of its own, which computes several batches at once, each
handed to it by another thread. As soon as queries come these threads pause, and the one in front of the
engine for queries does bulk work in between, a few crops at a time, so that a query waits for few.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Literal

import numpy as np

from reid.engines import Engine, RowsEngine
from server.errors import Overloaded, Stopping
from server.queries import Queries

log = logging.getLogger("resight")
Lane = Literal["interactive", "bulk"]
_BULK_TURN = 4  # interactive batches in a row before waiting bulk work gets one
_BESIDE_QUERIES_S = 0.004  # of computing bulk work, at most, for which a query then waits
_LONGEST_HELD_S, _LOOK_S = 0.05, 0.002  # how long it waits for queries elsewhere; how often it looks
_FEWEST_BESIDE = 4  # crops; fewer would make bulk work too slow
_SIZES, _GPU_SIZES = (8, 16, 32), (8, 16, 32, 64, 128)


class EmbedError(RuntimeError):
    """Crops the engine failed on; `rows` says which of the request's crops and why."""

    def __init__(self, rows: dict[int, str]) -> None:
        super().__init__("; ".join(f"crop {row}: {why}" for row, why in rows.items()))
        self.rows = rows


class _Request:
    def __init__(self, crops: np.ndarray, rows: Sequence[np.ndarray], dim: int) -> None:
        self.crops, self.rows, self.taken, self.left = crops, rows, 0, len(crops)
        self.vectors = np.empty((len(crops), dim), np.float32)
        self.bad: dict[int, str] = {}
        self.failed = False
        self.future: Future[np.ndarray] = Future()


@dataclasses.dataclass(frozen=True)
class BulkEngine:
    """What bulk work is embedded with while no queries come.

    Args:
        engine: safe to call from `at_once` threads at once. batch: crops that each of them gives it.
    """

    engine: Engine | RowsEngine
    batch: int
    at_once: int


class Batcher:
    """Feeds an engine.

    Args:
        engine: what embeds: all crops with one table, or each with its own. dim: length of its embeddings.
        max_batch: crops a batch. max_queued: crops that may wait; beyond, `submit` raises Overloaded.
        queries: of all batchers on this machine's cores.
    """

    def __init__(
        self,
        engine: Engine | RowsEngine,
        dim: int,
        max_batch: int = 32,
        max_queued: int = 4096,
        queries: Queries | None = None,
    ) -> None:
        self.engine, self.dim, self.max_batch, self.max_queued = engine, dim, max_batch, max_queued
        self.lanes: dict[Lane, deque[_Request]] = {"interactive": deque(), "bulk": deque()}
        self.changed = threading.Condition()
        self.queued, self.rate = 0, 100.0
        self.closed: Overloaded | None = None  # what requests are refused with from then on
        self.batches = self.crops = 0  # served so far
        self.bulk: BulkEngine | None = None
        self.queries = queries or Queries()
        self.serving = 0  # batches that are being computed
        self.bulk_threads: list[threading.Thread] = []
        self.thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self.thread.start()

    def serve_bulk_with(self, bulk: BulkEngine) -> None:
        """From now on bulk work has an engine of its own while no queries come. Once."""
        with self.changed:
            if self.closed is not None:
                return
            self.bulk = bulk
            for number in range(bulk.at_once):
                thread = threading.Thread(target=self._run_bulk, name=f"bulk-{number}", daemon=True)
                self.bulk_threads.append(thread)
                thread.start()

    def submit(
        self, crops: np.ndarray, lane: Lane = "interactive", rows: Sequence[np.ndarray] | None = None
    ) -> Future[np.ndarray]:
        """uint8 [N,H,W,3] -> future of float32 [N,D], which raises EmbedError for crops the engine fails on.

        Args:
            rows: float32 [2,C], the packed table of each crop, for a RowsEngine and only for one. Crops with
                the same array share it in the batch.

        Raises Overloaded when too many crops wait already, and what `close` was called with after that.
        """
        if len(rows or ()) != (len(crops) if isinstance(self.engine, RowsEngine) else 0):
            raise ValueError(
                f"{len(crops)} crops with {len(rows or ())} tables for {type(self.engine).__name__}"
            )
        request = _Request(crops, rows or (), self.dim)
        with self.changed:
            if self.closed is not None:
                raise self.closed
            self.check_room(len(crops))
            self.queued += len(crops)
            self.lanes[lane].append(request)
            if lane == "interactive":
                self.queries.begin()
                request.future.add_done_callback(lambda _: self.queries.end())
            self.changed.notify_all()
        return request.future

    def check_room(self, count: int) -> None:
        """Raises Overloaded where `count` more crops are too many. A request of any size may wait alone."""
        queued = self.queued
        if queued and queued + count > self.max_queued:
            wait = math.ceil(queued / self.rate)
            raise Overloaded(
                f"{queued} crops are waiting for the engine already; try again in {wait} s", wait
            )

    def close(self, refusal: Overloaded | None = None) -> None:
        """Finishes what is queued and stops. Later requests are refused with `refusal`, by default with
        Stopping."""
        with self.changed:
            self.closed = refusal or Stopping("the server is stopping")
            self.changed.notify_all()
        for thread in [self.thread, *self.bulk_threads]:
            thread.join()

    def _run(self) -> None:
        """In front of the engine for queries."""
        streak, held_until = 0, 0.0
        while True:
            with self.changed:
                while not (self.lanes["interactive"] or self._does_bulk_too()):
                    if self.closed is not None:
                        return
                    # queries elsewhere, which nobody tells this thread of, make bulk work its own
                    self.changed.wait(_LOOK_S * 10 if self.lanes["bulk"] else None)
                bulk_turn = self._does_bulk_too() and (streak >= _BULK_TURN or not self.lanes["interactive"])
                elsewhere = self.queries.pending and not self.lanes["interactive"]
                if bulk_turn and elsewhere and time.monotonic() < held_until and self.closed is None:
                    self.changed.wait(_LOOK_S)  # another engine needs the cores for a query
                    continue
                lane: Lane = "bulk" if bulk_turn else "interactive"
                streak = 0 if bulk_turn else streak + 1
                batch = self._take(self.lanes[lane], self._beside_queries() if bulk_turn else self.max_batch)
            self._serve(batch, self.engine)
            if bulk_turn:
                held_until = time.monotonic() + _LONGEST_HELD_S

    def _run_bulk(self) -> None:
        """One thread in front of the engine for bulk work. What is left at the end is done by `_run`."""
        assert self.bulk is not None
        while True:
            with self.changed:
                while self.closed is None and not (self.lanes["bulk"] and self.queries.expected_for() <= 0):
                    self.changed.wait(self.queries.expected_for() if self.lanes["bulk"] else None)
                if self.closed is not None:
                    return
                batch = self._take(self.lanes["bulk"], self.bulk.batch)
            self._serve(batch, self.bulk.engine)

    def _does_bulk_too(self) -> bool:
        """Whether bulk work waits that no other thread does. Call it with the lock."""
        apart = self.bulk is not None and self.closed is None and self.queries.expected_for() <= 0
        return bool(self.lanes["bulk"]) and not apart

    def _beside_queries(self) -> int:
        """Crops of bulk work at once in front of the engine for queries. Call it with the lock."""
        if self.queries.expected_for() <= 0:
            return self.max_batch
        return min(self.max_batch, max(_FEWEST_BESIDE, int(self.rate * _BESIDE_QUERIES_S)))

    def _take(self, lane: deque[_Request], room: int) -> list[tuple[_Request, int, int]]:
        """Slices of waiting requests, at most `room` crops together. Cancelled requests are skipped. Call it
        with the lock."""
        batch: list[tuple[_Request, int, int]] = []
        while lane and room:
            request = lane[0]
            if request.future.cancelled():
                self.queued -= len(request.crops) - request.taken
                lane.popleft()
                continue
            start = request.taken
            stop = request.taken = min(start + room, len(request.crops))
            batch.append((request, start, stop))
            room -= stop - start
            self.queued -= stop - start
            if stop == len(request.crops):
                lane.popleft()
        self.serving += bool(batch)
        return batch

    def _serve(self, batch: list[tuple[_Request, int, int]], engine: Engine | RowsEngine) -> None:
        if not batch:
            return
        try:
            self._embed_batch(batch, engine)
        except Exception as error:  # such as no memory to join the crops: only this batch may fail
            log.exception("a batch could not be served")
            self._fail([request for request, _, _ in batch], error)
        finally:
            with self.changed:
                self.serving -= 1

    def _embed_batch(self, batch: list[tuple[_Request, int, int]], engine: Engine | RowsEngine) -> None:
        began = time.perf_counter()
        crops = (
            np.concatenate([r.crops[start:stop] for r, start, stop in batch])
            if len(batch) > 1
            else batch[0][0].crops[batch[0][1] : batch[0][2]]
        )
        rows = [row for r, start, stop in batch for row in r.rows[start:stop]]
        vectors, bad = self._embed(engine, crops, rows)
        row, complete = 0, []
        with self.changed:  # slices of a request may be done by several threads
            rate = self.serving * len(crops) / (time.perf_counter() - began)
            self.rate = 0.9 * self.rate + 0.1 * rate
            self.batches, self.crops = self.batches + 1, self.crops + len(crops)
            for request, start, stop in batch:
                count = stop - start
                request.vectors[start:stop] = vectors[row : row + count]
                request.bad |= {start + i: bad[row + i] for i in range(count) if row + i in bad}
                row, request.left = row + count, request.left - count
                if request.left == 0:
                    complete.append(request)
        for request in complete:
            if request.future.set_running_or_notify_cancel():
                if request.bad:
                    request.future.set_exception(EmbedError(dict(sorted(request.bad.items()))))
                else:
                    request.future.set_result(request.vectors)

    def _fail(self, requests: list[_Request], error: Exception) -> None:
        """Ends requests with an error, and what of them is still queued."""
        for request in requests:
            with self.changed:
                if request.failed:  # another thread did, on another slice of it
                    continue
                request.failed = True
                for lane in self.lanes.values():
                    if request in lane:
                        lane.remove(request)
                        self.queued -= len(request.crops) - request.taken
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(error)

    def _embed(
        self, engine: Engine | RowsEngine, crops: np.ndarray, rows: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Embeds a batch; if that fails, halves, down to the crops that are to blame."""
        try:
            vectors = _run(engine, crops, rows)
            if vectors.shape != (len(crops), self.dim):  # which numpy would stretch where it can
                raise ValueError(f"it answered {vectors.shape} for {len(crops)} crops")
        except Exception as error:  # whatever a runtime throws must not end the thread that serves everybody
            log.exception("the engine failed on a batch of %d", len(crops))
            return self._bisect(engine, crops, rows, str(error))
        norms = np.linalg.norm(vectors, axis=1)
        finite = np.isfinite(norms) & (norms > 0)
        # to exact unit length, which bf16 engines miss by a thousandth
        vectors = vectors / np.where(finite, norms, 1)[:, None]
        return vectors, {int(row): "its embedding is zero or not finite" for row in np.flatnonzero(~finite)}

    def _bisect(
        self, engine: Engine | RowsEngine, crops: np.ndarray, rows: Sequence[np.ndarray], why: str
    ) -> tuple[np.ndarray, dict[int, str]]:
        if len(crops) == 1:
            return np.full((1, self.dim), np.nan, np.float32), {0: f"the engine failed: {why}"}
        half = len(crops) // 2
        left, left_bad = self._embed(engine, crops[:half], rows[:half])
        right, right_bad = self._embed(engine, crops[half:], rows[half:])
        return np.concatenate([left, right]), left_bad | {
            half + row: reason for row, reason in right_bad.items()
        }


def _run(engine: Engine | RowsEngine, crops: np.ndarray, rows: Sequence[np.ndarray]) -> np.ndarray:
    if not isinstance(engine, RowsEngine):
        return engine.embed(crops)
    tables = {id(row): row for row in rows}
    numbers = {identity: number for number, identity in enumerate(tables)}
    indices = np.array([numbers[id(row)] for row in rows], np.int32)
    return engine.embed(crops, indices, np.stack(list(tables.values())))


def best_batch(engine: Engine, height: int, width: int) -> int:
    """Warms an engine up and returns its batch size: a larger one must gain more than 5 % throughput."""
    best, best_rate = _SIZES[0], 0.0
    for size in _SIZES if engine.describe().device == "cpu" else _GPU_SIZES:
        crops = np.zeros((size, height, width, 3), np.uint8)
        engine.embed(crops)
        began = time.perf_counter()
        engine.embed(crops)
        rate = size / (time.perf_counter() - began)
        if rate <= 1.05 * best_rate:
            break
        best, best_rate = size, rate
    return best
