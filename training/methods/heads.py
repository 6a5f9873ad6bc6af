"""Trains BNTA's heads on a network that was trained without them and stays as it is (methods A.7)."""

from __future__ import annotations

from torch import Tensor

from reid.models.build import Embedder
from reid.models.heads import PART_DIM
from reid.models.spec import PARTS
from training.data.loader import Batch
from training.losses import SelfSupervisedLoss
from training.methods.method import Method
from training.recipe import Recipe, RecipeError


class Heads(Method):
    """L = 0.1 L_pos + 0.1 L_part (BNTA Eq. 9 without the identity loss).

    Trunk and neck are not trained and stay in eval mode. Raises RecipeError without heads, or without weights
    to start from.
    """

    needs_networks = ("start",)

    def __init__(self, recipe: Recipe, embedder: Embedder, identities: list[int], cameras: int) -> None:
        super().__init__(recipe, embedder, identities, cameras)
        if embedder.heads is None:
            raise RecipeError("method heads trains the heads: set model.ssl_heads to true")
        if not recipe.start:
            raise RecipeError(
                "method heads needs a trained network: give start=RUN, a checkpoint or a .safetensors file"
            )
        embedder.requires_grad_(False)
        embedder.heads.requires_grad_(True)
        self.ssl = SelfSupervisedLoss(sum(identities), PART_DIM, PARTS)

    def train(self, mode: bool = True) -> Heads:
        """Switches the mode, but for trunk and neck, whose statistics must not move."""
        super().train(mode)
        embedder = self.pixels.embedder
        embedder.trunk.eval()
        embedder.neck.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The two losses of the heads."""
        f = self.pixels.embedder.features(self.pixels.normalise(batch.crops))
        assert f.position_logits is not None and f.parts is not None
        position, identity = self.ssl(f.position_logits.float(), f.parts, batch.labels)
        weights = self.recipe.losses
        return {"position": weights.position * position, "part identity": weights.part_identity * identity}
