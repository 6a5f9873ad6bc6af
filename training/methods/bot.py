"""BoT: the bag of tricks for a strong baseline (Luo et al. 2019), each trick a switch of the recipe.

L = CE_LS(W f_i) + L_tri(f_t) + 0.0005 L_centre(f_t) [+ L_proxy(f_i), ours]
[+ 0.1 L_pos + 0.1 L_part with BNTA's heads, BNTA Eq. 9]
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid.models.build import Embedder, Features
from reid.models.heads import PART_DIM
from reid.models.norms import restitutions
from reid.models.spec import PARTS
from training.data.loader import Batch
from training.losses import CentreLoss, ProxyLoss, SelfSupervisedLoss, restitution_loss, triplet_losses
from training.methods.method import Method
from training.recipe import Recipe


class BagOfTricks(Method):
    """See the module. Identities of all domains share one classifier."""

    def __init__(self, recipe: Recipe, embedder: Embedder, identities: list[int], cameras: int) -> None:
        super().__init__(recipe, embedder, identities, cameras)
        dim, count = embedder.spec.dim, sum(identities)
        if isinstance(embedder.neck, nn.BatchNorm1d):
            embedder.neck.bias.requires_grad_(
                False
            )  # as in the code; the paper's section 3.5 drops the classifier's bias alone
        self.classifier = self.make_classifier(recipe, count)
        self.identity_loss = nn.CrossEntropyLoss(label_smoothing=recipe.losses.label_smoothing)
        self.centres = CentreLoss(count, dim) if recipe.losses.centre else None
        hardest, temperature = recipe.losses.proxy_hardest, recipe.losses.proxy_temperature
        self.proxies = ProxyLoss(count, dim, hardest, temperature) if recipe.losses.proxy else None
        self.ssl = SelfSupervisedLoss(count, PART_DIM, PARTS) if embedder.heads is not None else None

    @staticmethod
    def make_classifier(recipe: Recipe, count: int) -> nn.Module:
        """Features -> identity logits; training-only.

        Without a neck it has a bias and torch's initialisation, as in the code (rungs 1 to 5 of Table 1).
        """
        dim = recipe.model.dim
        if not recipe.model.neck:
            return nn.Linear(dim, count)
        classifier = nn.Linear(dim, count, bias=False)
        # as in the code; the paper says Kaiming (methods A.8, row 15)
        nn.init.normal_(classifier.weight, std=0.001)
        return classifier

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted losses of a batch by name; their sum is what is minimised."""
        return self.losses(self.pixels.embedder.features(self.pixels.normalise(batch.crops)), batch)

    def losses(self, f: Features, batch: Batch) -> dict[str, Tensor]:
        """The losses of features that have been computed already."""
        weights = self.recipe.losses
        logits = self.classifier(f.after_neck).float()
        losses = {"identity": weights.identity * self.identity_loss(logits, batch.labels)}
        losses |= triplet_losses(weights, [f.before_neck], batch.labels)
        modules = restitutions(self.pixels.embedder)
        for number, (weight, module) in enumerate(zip(weights.restitution, modules, strict=False), 1):
            if weight and module.seen is not None:
                losses[f"restitution {number}"] = weight * restitution_loss(module.seen, batch.labels)
        if self.centres is not None:
            losses["centre"] = weights.centre * self.centres(f.before_neck, batch.labels)
        if self.proxies is not None:
            losses["proxy"] = weights.proxy * self.proxies(f.after_neck, batch.labels)
        if self.ssl is not None and f.position_logits is not None and f.parts is not None:
            position, identity = self.ssl(f.position_logits.float(), f.parts, batch.labels)
            losses["position"] = weights.position * position
            losses["part identity"] = weights.part_identity * identity
        return losses

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for the network, plain SGD for the centres (they must see no weight decay)."""
        if self.centres is None:
            return super().optimisers()
        self.centres.requires_grad_(False)
        optimisers = super().optimisers()
        self.centres.requires_grad_(True)
        rate = self.recipe.losses.centre_rate
        optimisers["centres"] = torch.optim.SGD(self.centres.parameters(), lr=rate)
        return optimisers

    def before_step(self) -> None:
        """Called between backward and the optimisers' steps."""
        if self.centres is not None:
            self.centres.undo_weight(self.recipe.losses.centre)
