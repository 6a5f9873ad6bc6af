"""Engines: a bundle and a profile go in, `embed` comes out. Choose one with `choose_engine`."""

from reid.engines.chooser import Choice, choose_engine, choose_with_reasons
from reid.engines.fallbacks import Fallback, Fallbacks
from reid.engines.protocol import Device, Engine, EngineError, EngineInfo, RowsEngine
from reid.engines.providers import GpuOptions

__all__ = [
    "Choice",
    "Device",
    "Engine",
    "EngineError",
    "EngineInfo",
    "Fallback",
    "Fallbacks",
    "GpuOptions",
    "RowsEngine",
    "choose_engine",
    "choose_with_reasons",
]
