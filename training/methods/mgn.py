"""MGN, alone or with PTL's cells: all eight features classified, the three whole-body ones also compared.

L = mean of eight CE + mean of three batch-hard triplets (methods A.4.2; the network that PTL's authors
published).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid.models.build import Embedder, Features
from reid.models.mgn import FEATURES, WIDTH, MgnTrunk
from training.data.loader import Batch
from training.losses import triplet_losses
from training.methods.ptl import Ptl
from training.recipe import Recipe, RecipeError

_WHOLE = 3  # features of the whole body


class Mgn(Ptl):
    """See the module. Raises RecipeError for another network, or a loss that MGN does not have."""

    def __init__(self, recipe: Recipe, embedder: Embedder, identities: list[int], cameras: int) -> None:
        if not isinstance(embedder.trunk, MgnTrunk):
            raise RecipeError(
                f"method mgn needs a network of that kind, like model.arch=mgn-ptl, not {embedder.spec.arch}"
            )
        if recipe.losses.centre:
            raise RecipeError("mgn has no centre loss: set losses.centre to 0")
        if recipe.losses.proxy:
            raise RecipeError("mgn has no proxy loss: set losses.proxy to 0")
        super().__init__(recipe, embedder, identities, cameras)

    @staticmethod
    def make_classifier(recipe: Recipe, count: int) -> nn.Module:
        """One linear layer for each feature."""
        return nn.ModuleList(nn.Linear(WIDTH, count) for _ in range(recipe.model.dim // WIDTH))

    def losses(self, f: Features, batch: Batch) -> dict[str, Tensor]:
        """The losses of features that have been computed already."""
        weights = self.recipe.losses
        classified = f.after_neck.unflatten(1, (FEATURES, WIDTH)).unbind(1)
        compared = f.before_neck.unflatten(1, (FEATURES, WIDTH)).unbind(1)
        assert isinstance(self.classifier, nn.ModuleList)
        identity = [
            self.identity_loss(fc(x).float(), batch.labels)
            for fc, x in zip(self.classifier, classified, strict=True)
        ]
        losses = {"identity": weights.identity * torch.stack(identity).mean()}
        return losses | triplet_losses(weights, compared[:_WHOLE], batch.labels)
