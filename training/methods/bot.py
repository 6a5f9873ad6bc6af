"""BoT: the bag of tricks for a strong baseline (Luo et al. 2019), each trick a switch of the recipe.

L = CE_LS(W f_i) + L_tri(f_t) + 0.0005 L_centre(f_t)   [+ 0.1 L_pos + 0.1 L_part with BNTA's heads, BNTA Eq. 9]
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid.models.build import Embedder, PixelEmbedder
from reid.models.heads import PART_DIM, PARTS
from training.data.loader import Batch
from training.losses import CentreLoss, SelfSupervisedLoss, batch_hard_triplet
from training.recipe import Recipe


class BagOfTricks(nn.Module):
    """The embedder and the training-only parts around it.

    Args:
        recipe: losses and their weights.
        embedder: what is trained and later deployed.
        identities: number of training identities.
    """

    def __init__(self, recipe: Recipe, embedder: Embedder, identities: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.pixels = PixelEmbedder(embedder)
        dim = embedder.spec.dim
        self.classifier = nn.Linear(dim, identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)  # the code's; the paper says Kaiming (methods A.8, row 15)
        self.identity_loss = nn.CrossEntropyLoss(label_smoothing=recipe.losses.label_smoothing)
        self.centres = CentreLoss(identities, dim) if recipe.losses.centre else None
        self.ssl = SelfSupervisedLoss(identities, PART_DIM, PARTS) if embedder.heads is not None else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted losses of a batch by name; their sum is what is minimised."""
        weights = self.recipe.losses
        f = self.pixels.embedder.features(self.pixels.normalise(batch.crops))
        classified = f.after_neck if self.recipe.neck else f.before_neck
        losses = {
            "identity": weights.identity * self.identity_loss(self.classifier(classified).float(), batch.labels),
            "triplet": weights.triplet * batch_hard_triplet(f.before_neck, batch.labels, weights.margin),
        }
        if self.centres is not None:
            losses["centre"] = weights.centre * self.centres(f.before_neck, batch.labels)
        if self.ssl is not None and f.position_logits is not None and f.parts is not None:
            position, identity = self.ssl(f.position_logits.float(), f.parts, batch.labels)
            losses["position"] = weights.position * position
            losses["part identity"] = weights.part_identity * identity
        return losses

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for the network, plain SGD for the centres (they must see no weight decay)."""
        settings = self.recipe.optimiser
        centre = set(self.centres.parameters()) if self.centres is not None else set()
        network = [p for p in self.parameters() if p.requires_grad and p not in centre]
        made: dict[str, torch.optim.Optimizer] = {"adam": torch.optim.Adam(network, lr=settings.rate, weight_decay=settings.weight_decay)}
        if self.centres is not None:
            made["centres"] = torch.optim.SGD(self.centres.parameters(), lr=self.recipe.losses.centre_rate)
        return made

    def before_step(self) -> None:
        """Between backward and the optimisers' steps."""
        if self.centres is not None:
            self.centres.undo_weight(self.recipe.losses.centre)
