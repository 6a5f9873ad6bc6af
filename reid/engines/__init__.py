"""Engines: a bundle and a profile go in, `embed` comes out. Choose one with `choose_engine`."""

from reid.engines.chooser import choose_engine
from reid.engines.protocol import Engine, EngineError, EngineInfo

__all__ = ["Engine", "EngineError", "EngineInfo", "choose_engine"]
