"""STD: distils a trained teacher into a plain student (PTL paper section IV, Eq. 4; methods A.4.5).

L = (1 - lambda) * L_labels(student) + lambda * L1(student feature, teacher feature)
[+ BNTA's heads, unscaled]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from reid.models.build import Embedder
from training.data.loader import Batch
from training.data.records import Record
from training.methods.bot import BagOfTricks
from training.recipe import Recipe
from training.teachers import cached_features, open_teacher

_HEADS = ("position", "part identity")  # they train other parameters and do not compete with the teacher


class Distillation(BagOfTricks):
    """See the module. The feature is the retrieval feature behind the neck, before unit length.

    Student and teacher see the same crops. Where the teacher's feature has another length, the student's goes
    through a linear layer that only training has. With `distill.cache` the teacher has seen the whole crops
    once, beforehand, at its own size.
    """

    needs_networks = ("distill.teacher",)

    def __init__(self, recipe: Recipe, embedder: Embedder, identities: list[int], cameras: int) -> None:
        super().__init__(recipe, embedder, identities, cameras)
        self.teacher = open_teacher(recipe.distill.teacher)
        dim = embedder.spec.dim
        self.project = nn.Identity() if self.teacher.dim == dim else nn.Linear(dim, self.teacher.dim)
        self.cached: Tensor | None = None

    def prepare(self, records: Sequence[Record]) -> None:
        """Reads or computes the cache of the teacher's features."""
        if self.recipe.distill.cache and self.recipe.distill.weight:
            self.cached = cached_features(
                self.teacher, self.recipe.distill, records, next(self.parameters()).device
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The labels' losses and the teacher's."""
        share = self.recipe.distill.weight
        features = self.pixels.embedder.features(self.pixels.normalise(batch.crops))
        losses = {}
        for name, loss in self.losses(features, batch).items():
            losses[name] = loss if name in _HEADS else (1 - share) * loss
        if share == 0:
            return losses  # without running the teacher
        target = self.teacher(batch.crops) if self.cached is None else self.cached[batch.places]
        losses["teacher"] = share * F.l1_loss(self.project(features.after_neck).float(), target)
        return losses
