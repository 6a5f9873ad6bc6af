"""Networks: a ModelSpec goes in, an Embedder comes out."""

from reid.models.build import Embedder, ModelSpec, build

__all__ = ["Embedder", "ModelSpec", "build"]
