"""Brings to Milvus, in the background, what indexes have to write and to delete there, and notices when it is
away and when it is back."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from typing import Protocol

from server.errors import IndexUnavailable, Problem
from server.gallery.milvus import MilvusAway, MilvusRows

log = logging.getLogger("resight")
_PAUSE_S = 0.5  # between looks at what is due, and between attempts to reach Milvus


class Written(Protocol):
    """An index as the writer sees it."""

    def write(self, at_once: bool = False) -> bool:
        """One step of what has to be done in Milvus. Returns whether more can be done now."""
        ...

    def compare(self) -> None:
        """Finds what Milvus lacks of the index, which is written again, and what it has too much."""
        ...


class MilvusWriter:
    """One thread over the rows of a gallery, from `start` on.

    Args:
        ended: set where another server has taken the gallery over, whose rows they are then.
    """

    def __init__(self, rows: MilvusRows, ended: threading.Event | None = None) -> None:
        self.rows, self.ended = rows, ended or threading.Event()
        self.away: str | None = None  # why Milvus does not answer
        self.indexes: weakref.WeakSet[Written] = weakref.WeakSet()
        self.lock = threading.Lock()  # of `indexes`
        self.dropped: deque[tuple[str, int]] = deque()  # site and space that no index uses any more
        self.wake, self.closed = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, name="milvus", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self.thread.start()

    def close(self) -> None:
        """Ends. What is not written yet is found by the next start."""
        self.closed.set()
        self.wake.set()
        if self.thread.is_alive():
            self.thread.join()
        self.rows.close()

    def watch(self, index: Written) -> None:
        """Writes what this index has to write, for as long as somebody uses it."""
        with self.lock:
            self.indexes.add(index)

    def drop(self, site: str, space: int) -> None:
        """Has every row of a space deleted. Takes no lock: the garbage collector calls it."""
        self.dropped.append((site, space))
        self.wake.set()

    def lost(self, reason: str) -> IndexUnavailable:
        """Milvus did not answer, or not rightly: searches are refused until it was compared again. Returns
        what a search raises."""
        if self.away is None:
            log.warning("queries are refused until Milvus is back: %s", reason)
            self.away = reason
        self.wake.set()
        return _refusal(reason)

    def require(self) -> None:
        """Raises IndexUnavailable while Milvus is away."""
        if (reason := self.away) is not None:
            raise _refusal(reason)

    def _run(self) -> None:
        while not self.closed.is_set() and not self.ended.is_set():
            self.wake.wait(_PAUSE_S)
            self.wake.clear()
            try:
                if self.away is not None:
                    self._come_back()
                while not self.closed.is_set() and not self.ended.is_set() and self._round():
                    pass
            except MilvusAway as error:
                self.lost(str(error))
                self.closed.wait(_PAUSE_S)
            except Problem as error:  # the store is away
                log.warning("nothing is written to Milvus for now: %s", error.detail)
                self.closed.wait(_PAUSE_S)
            except Exception:  # the thread must live on; whoever queries learns of it
                log.exception("writing to Milvus failed")
                self.lost("writing to Milvus failed; the server's log has the details")
                self.closed.wait(_PAUSE_S)

    def _come_back(self) -> None:
        self.rows.connect()
        for index in self._watched():
            index.compare()
        log.warning("Milvus is back, and compared with the store")
        self.away = None

    def _round(self) -> bool:
        """A step for each index. Returns whether more can be done now."""
        while self.dropped:
            if not self.rows.delete_space(*self.dropped[0]):
                break  # the next round deletes what is left
            self.dropped.popleft()
        return any([index.write() for index in self._watched()])

    def _watched(self) -> list[Written]:
        with self.lock:
            return list(self.indexes)


def _refusal(reason: str) -> IndexUnavailable:
    return IndexUnavailable(f"{reason}; everything but queries goes on, and nothing is lost")
