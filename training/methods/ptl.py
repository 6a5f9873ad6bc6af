"""PTL: progressive transfer learning, cross entropy through cells that carry state between batches (A.4)."""

from __future__ import annotations

from torch import nn

from training.methods.bot import BagOfTricks
from training.recipe import Recipe


class Ptl(BagOfTricks):
    """The losses are the recipe's. The states of the cells are kept by every method (`method.py`)."""

    @staticmethod
    def make_classifier(recipe: Recipe, count: int) -> nn.Module:
        """Linear layers with ReLUs between them: `ptl.hidden` of the recipe."""
        layers: list[nn.Module] = []
        dim = recipe.model.dim
        for width in recipe.ptl.hidden:
            layers += [nn.Linear(dim, width), nn.ReLU()]
            dim = width
        return nn.Sequential(*layers, nn.Linear(dim, count))
