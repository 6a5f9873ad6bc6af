"""PTL: progressive transfer learning (methods A.4): cross entropy through cells that carry state from batch
to batch."""

from __future__ import annotations

from torch import nn

from training.methods.bot import BagOfTricks


class Ptl(BagOfTricks):
    """The losses are the recipe's; what the cells remember, every method looks after (`method.py`)."""

    @staticmethod
    def make_classifier(dim: int, count: int) -> nn.Module:
        """Three linear layers, as the paper says; their widths are ours."""
        return nn.Sequential(
            nn.Linear(dim, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, count)
        )
