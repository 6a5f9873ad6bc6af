"""What every engine offers."""

from __future__ import annotations

import dataclasses
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from reid.profile import Profile

Device = Literal["auto", "cpu", "cuda"]


class EngineError(RuntimeError):
    """An engine that cannot be used here; the message says what to install or to choose."""


@dataclasses.dataclass(frozen=True)
class EngineInfo:
    """What really runs, as the runtime reports it; a request may have been ignored."""

    engine: str  # onnxruntime | openvino | torch
    version: str
    provider: str  # CPUExecutionProvider, CUDAExecutionProvider, CPU, cuda:0, ...
    device: str
    precision: str  # fp32 | bf16 | fp16 | int8


@runtime_checkable
class Engine(Protocol):
    """Runs one bundle with one profile."""

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8 [B,H,W,3] RGB -> float32 [B,D], unit length. Safe to call from any one thread at a time.

        Raises `reid.crops.CropsError` for another dtype or another size than the bundle's.
        """
        ...

    def with_profile(self, profile: Profile) -> Engine:
        """A second engine of the same bundle with other BN values; this one stays as it is."""
        ...

    def with_rows(self) -> RowsEngine:
        """An engine of the same bundle for any number of tables; this one stays as it is."""
        ...

    def describe(self) -> EngineInfo:
        """What really runs."""
        ...


@runtime_checkable
class RowsEngine(Protocol):
    """Runs one bundle with many BatchNorm tables at once, each crop with its own. No table is compiled."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of a table in the order in which `reid.engines.rows.pack` joins them."""
        ...

    def embed(self, crops: np.ndarray, rows: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """-> float32 [B,D], unit length. Safe to call from any one thread at a time.

        Args:
            crops: uint8 [B,H,W,3] RGB. rows: int32 [B], the table of each crop.
            tables: float32 [T,2,C], packed tables.

        Raises `reid.crops.CropsError` for anything else.
        """
        ...

    def describe(self) -> EngineInfo:
        """What really runs."""
        ...
