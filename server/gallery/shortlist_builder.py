"""The thread that builds shortlists, one after the other, while searches go on without them."""

from __future__ import annotations

import logging
import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

import faiss

log = logging.getLogger("resight")
_STOP_S = 5.0  # learning cannot be interrupted; the process does not wait longer for it


class Buildable(Protocol):
    """An index with something to build."""

    def is_due(self) -> bool:
        """Whether it should be built now."""
        ...

    def build(self, is_stopped: Callable[[], bool]) -> None:
        """Builds it."""
        ...


class ShortlistBuilder:
    """Builds in a thread of its own, which begins with the first index that needs it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: queue.Queue[weakref.ref[Buildable] | None] = queue.Queue()
        self.queued: weakref.WeakSet[Buildable] = weakref.WeakSet()
        self.stopped = threading.Event()
        self.thread: threading.Thread | None = None

    def consider(self, index: Buildable) -> None:
        """Has an index built if it is due, and not waiting already. Nobody else keeps it alive for that."""
        with self.lock:
            if self.stopped.is_set() or index in self.queued or not index.is_due():
                return
            self.queued.add(index)
            self.waiting.put(weakref.ref(index))
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="shortlists", daemon=True)
                self.thread.start()

    def settle(self) -> None:
        """Waits until nothing waits."""
        self.waiting.join()

    def close(self) -> None:
        """Ends the thread after the rows that it adds just now."""
        self.stopped.set()
        self.waiting.put(None)
        if self.thread is not None:
            self.thread.join(_STOP_S)

    def _run(self) -> None:
        faiss.omp_set_num_threads(max(1, (os.cpu_count() or 2) // 2))  # of this thread: searches go on beside
        while (reference := self.waiting.get()) is not None:
            index = reference()
            try:
                if index is not None and not self.stopped.is_set():
                    index.build(self.stopped.is_set)
            except Exception:  # the thread must live on for other sites; searches go on without a shortlist
                log.exception("a shortlist could not be built")
            finally:
                with self.lock:
                    if index is not None:
                        self.queued.discard(index)
                self.waiting.task_done()
            if index is not None:
                self.consider(index)  # it may have grown meanwhile
            del index, reference
