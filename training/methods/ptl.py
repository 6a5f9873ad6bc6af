"""PTL: progressive transfer learning (methods A.4): cross entropy through cells that carry state from batch to batch."""

from __future__ import annotations

from torch import Tensor, nn

from reid.models.ptl import BConvCell, reset_states
from training.methods.bot import BagOfTricks


class Ptl(BagOfTricks):
    """The losses are the recipe's; the states are forgotten at the beginning of every epoch."""

    @staticmethod
    def make_classifier(dim: int, count: int) -> nn.Module:
        """Three linear layers, as the paper says; their widths are ours."""
        return nn.Sequential(nn.Linear(dim, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, count))

    def begin_epoch(self) -> None:
        """Resets the states."""
        reset_states(self)

    def carried(self) -> dict[str, Tensor]:
        """The states of the cells: not part of a model, but of a run."""
        return {name: cell.state for name, cell in self._cells() if len(cell.state)}

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Puts the states back."""
        reset_states(self)
        for name, cell in self._cells():
            if name in tensors:
                cell.state = tensors[name].to(cell.state.device)

    def _cells(self) -> list[tuple[str, BConvCell]]:
        return [(name, module) for name, module in self.named_modules() if isinstance(module, BConvCell)]
