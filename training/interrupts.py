"""How a run ends before its last step: by an error, or because somebody stops it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingError(RuntimeError):
    """The run cannot go on; the last good checkpoint stays."""


class Interrupted(TrainingError):
    """Ctrl-C or SIGTERM: the checkpoint is saved, and the message says how to go on."""


class StopSignals:
    """Notes Ctrl-C and SIGTERM in `stopped`, so that a run can end between two steps; a second one ends it at
    once. Outside the main thread, which alone receives signals, nothing is noted.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            # what is ignored stays so: a shell starts background jobs that Ctrl-C must not reach
            for number in (n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN):
                self.before[number] = signal.signal(number, self._note) or signal.SIG_DFL
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.stopped = True
        signal.signal(number, self.before[number])
