"""Runs a session that may be on a GPU: no batch is too large for it, and a full GPU ends nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state

from reid.engines.fallbacks import Fallbacks, lacks_memory
from reid.engines.providers import MAX_BATCH

log = logging.getLogger("resight")
ON_CPU = "batches that the GPU had no memory for, computed by the CPU"


def _errors_of_onnxruntime() -> tuple[type[Exception], ...]:
    """What a session raises: onnxruntime's own errors have no base in common, and its Python part raises
    RuntimeError and ValueError."""
    errors: list[type[Exception]] = []
    for value in vars(onnxruntime_pybind11_state).values():
        if isinstance(value, type) and issubclass(value, Exception):
            errors.append(value)
    return (*errors, RuntimeError, ValueError)


RUNTIME_ERRORS = _errors_of_onnxruntime()


class Running:
    """Feeds a session.

    Args:
        session: what computes. on_cpu: opens the same network on the CPU, for batches that the GPU has no
            memory for; None where the session is there already. fallbacks: where such batches are noted.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        on_cpu: Callable[[], ort.InferenceSession] | None,
        fallbacks: Fallbacks,
    ) -> None:
        self.session, self.on_cpu, self.fallbacks = session, on_cpu, fallbacks
        self.second: ort.InferenceSession | None = None

    def run(self, by_crop: dict[str, np.ndarray], shared: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """float32 [B,D] of inputs with a row for each crop and of those that all crops share."""
        count = len(next(iter(by_crop.values())))
        if self.on_cpu is None or count <= MAX_BATCH:
            return self._run(by_crop | (shared or {}))
        starts = range(0, count, MAX_BATCH)
        parts = [
            {name: rows[start : start + MAX_BATCH] for name, rows in by_crop.items()} for start in starts
        ]
        return np.concatenate([self._run(part | (shared or {})) for part in parts])

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        try:
            return self.session.run(None, inputs)[0]
        except RUNTIME_ERRORS as error:
            if self.on_cpu is None or not lacks_memory(error):
                raise
            log.warning("the GPU has no memory for a batch, so the CPU computes it: %s", error)
            self.fallbacks.note(ON_CPU, str(error))
        # outside of the handler: the error holds what the GPU was to compute
        if self.second is None:
            self.second = self.on_cpu()
        return self.second.run(None, inputs)[0]
