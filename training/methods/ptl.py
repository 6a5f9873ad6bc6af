"""PTL: progressive transfer learning, cross entropy through cells that carry state between batches (A.4)."""

from __future__ import annotations

from torch import nn

from training.methods.bot import BagOfTricks


class Ptl(BagOfTricks):
    """The losses are the recipe's. The states of the cells are kept by every method (`method.py`)."""

    @staticmethod
    def make_classifier(dim: int, count: int, neck: bool = True) -> nn.Module:
        """Three linear layers, as the paper says; their widths are ours."""
        return nn.Sequential(
            nn.Linear(dim, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, count)
        )
