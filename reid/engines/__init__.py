"""Engines: a bundle and a profile go in, `embed` comes out. Choose one with `choose_engine`."""

from reid.engines.chooser import Device, choose_engine
from reid.engines.protocol import Engine, EngineError, EngineInfo

__all__ = ["Device", "Engine", "EngineError", "EngineInfo", "choose_engine"]
