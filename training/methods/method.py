"""What the loop asks of a method, with answers that suit most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from reid.models.build import Embedder, PixelEmbedder
from training.data.loader import Batch
from training.recipe import Recipe


class Method(nn.Module):
    """An embedder, the training-only parts around it, and one step.

    Args:
        recipe: losses and their weights. embedder: what is trained and later deployed.
        identities: training identities of each domain.
    """

    per_domain = False  # True: every batch holds a batch of every domain

    def __init__(self, recipe: Recipe, embedder: Embedder, identities: list[int]) -> None:
        super().__init__()
        self.recipe, self.identities = recipe, identities
        self.pixels = PixelEmbedder(embedder)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted losses of a batch by name; their sum is what is minimised."""
        raise NotImplementedError

    def begin(self, embed: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Before the first step of a new run. `embed` gives unit embeddings [N,D] and labels [N] of all training crops."""

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The first is called `adam` and follows the recipe's schedule."""
        settings = self.recipe.optimiser
        trained = [p for p in self.parameters() if p.requires_grad]
        return {"adam": torch.optim.Adam(trained, lr=settings.rate, weight_decay=settings.weight_decay)}

    def before_step(self) -> None:
        """Between backward and the optimisers' steps."""

    def after_step(self, batch: Batch) -> None:
        """After the optimisers' steps."""
