"""Resight as a library: a bundle's network embeds pictures of people.

    import resight
    model = resight.load("x.resight")
    vectors = model.embed(["a.jpg", "b.jpg"])          # float32 [2,D]; files, bytes, arrays, Pillow images
    resight.distance(vectors[0], vectors[1])           # 0: the same, 2: opposite

Each name is imported when it is used for the first time, so that importing this module costs nothing. `app`
is the command line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cli.app import app
    from reid.bundle import BundleError
    from reid.embedding import Model, distance, load
    from reid.engines import EngineError
    from reid.images import ImageError

    __version__: str

__all__ = ["BundleError", "EngineError", "ImageError", "Model", "__version__", "app", "distance", "load"]

_MODULES = {
    "BundleError": "reid.bundle",
    "EngineError": "reid.engines",
    "ImageError": "reid.images",
    "Model": "reid.embedding",
    "app": "cli.app",
    "distance": "reid.embedding",
    "load": "reid.embedding",
}


def __getattr__(name: str) -> Any:
    """A public name, imported now."""
    if name == "__version__":
        from importlib.metadata import version

        return version("resight")
    if name not in _MODULES:
        raise AttributeError(f"module 'resight' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__


if __name__ == "__main__":
    from cli.app import app

    app()
