"""What the training loop calls of a method, with defaults that suit most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reid.models.build import Embedder, PixelEmbedder
from reid.models.ptl import BConvCell, reset_states
from training.data.loader import Batch
from training.data.records import Record
from training.recipe import Recipe


class Method(nn.Module):
    """An embedder, the training-only parts around it, and one step.

    Args:
        recipe: losses and their weights. embedder: what is trained and later deployed.
        identities: training identities of each domain. cameras: of all domains together.
    """

    per_domain = False  # True: every batch holds a batch of every domain
    # keys of the recipe that must name a trained network before a run can begin
    needs_networks: tuple[str, ...] = ()
    # buffers that the shards of a batch write in different places; the others are averaged
    disjoint: tuple[str, ...] = ()

    def __init__(self, recipe: Recipe, embedder: Embedder, identities: list[int], cameras: int) -> None:
        super().__init__()
        self.recipe, self.identities, self.cameras = recipe, identities, cameras
        self.pixels = PixelEmbedder(embedder)

    @staticmethod
    def make_classifier(recipe: Recipe, count: int) -> nn.Module:
        """Features [B,D] of the recipe's network -> logits [B,count]; of methods that classify."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted losses of a batch by name; their sum is what is minimised."""
        raise NotImplementedError

    def prepare(self, records: Sequence[Record]) -> None:
        """Called before a run starts or resumes; `Batch.places` are indices of these training records."""

    def begin(self, embed: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Called before the first step of a new run.

        `embed` gives unit embeddings [N,D] and labels [N] of all training crops.
        """

    def begin_epoch(self) -> None:
        """Called before the first step of an epoch: clears the states of a PTL network's cells."""
        reset_states(self)

    def carried(self) -> dict[str, Tensor]:
        """State that steps hand on, beside the state dict, by name: that of a PTL network's cells."""
        return {name: cell.state for name, cell in self._cells() if len(cell.state)}

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `carried` returned; an empty dictionary clears it."""
        reset_states(self)
        for name, cell in self._cells():
            if name in tensors:
                cell.state = tensors[name].to(cell.state.device)

    def _cells(self) -> list[tuple[str, BConvCell]]:
        return [(name, module) for name, module in self.named_modules() if isinstance(module, BConvCell)]

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam or SGD over everything. The one called `network` follows the recipe's schedule."""
        settings = self.recipe.optimiser
        trained = [p for p in self.parameters() if p.requires_grad]
        rate, decay = settings.rate, settings.weight_decay
        if settings.kind == "sgd":
            return {"network": torch.optim.SGD(trained, rate, settings.momentum, weight_decay=decay)}
        amsgrad = settings.kind == "amsgrad"
        return {"network": torch.optim.Adam(trained, lr=rate, weight_decay=decay, amsgrad=amsgrad)}

    def before_step(self) -> None:
        """Called between backward and the optimisers' steps."""

    def after_step(self, batch: Batch) -> None:
        """Called after the optimisers' steps."""
