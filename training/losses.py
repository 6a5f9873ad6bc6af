"""Losses shared by the methods (methods A.0.3 and A.5.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid.adaptation.losses import position_loss
from reid.models.norms import Restored
from training.recipe import Losses


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances [N,M] of rows [N,D] and [M,D], in at least float32: this form cancels digits."""
    dtype = torch.promote_types(a.dtype, torch.float32)
    a, b = a.to(dtype), b.to(dtype)
    squared = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T
    return squared.clamp_min(1e-12).sqrt()


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Mean over anchors of [hardest positive - hardest negative + margin]+ (BoT Eq. 4; A.0.3).

    features [B,D] before the neck, not normalised; labels [B]. Identities may have any number of crops in the
    batch (the BoT code silently assumes equal numbers). Raises ValueError when the batch holds one identity
    only.
    """
    with torch.autocast(features.device.type, enabled=False):
        d = distances(features, features)
    same = labels[:, None] == labels[None]
    if bool(same.all()):
        raise ValueError("batch-hard triplet needs at least two identities in a batch")
    positive = d.masked_fill(~same, -torch.inf).amax(1)
    negative = d.masked_fill(same, torch.inf).amin(1)
    return (positive - negative + margin).clamp_min(0).mean()


def triplet_losses(weights: Losses, features: Sequence[Tensor], labels: Tensor) -> dict[str, Tensor]:
    """The weighted triplet loss of the recipe as `triplet`, the mean over several features [B,D] of a crop.

    Nothing where its weight is 0: none is computed then, and a batch may hold one identity.
    """
    if not weights.triplet:
        return {}
    losses = [_triplet_loss(weights, each, labels) for each in features]
    return {"triplet": weights.triplet * torch.stack(losses).mean()}


def _triplet_loss(weights: Losses, features: Tensor, labels: Tensor) -> Tensor:
    if weights.triplet_form == "weighted":
        return weighted_triplet(features, labels)
    return batch_hard_triplet(features, labels, weights.margin)


def weighted_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """AGW's triplet loss: softplus of the weighted mean positive minus the weighted mean negative distance.

    Far positives and near negatives weigh most, by a softmax over each anchor's distances; there is no margin
    (methods A.0.3). features [B,D], not normalised; labels [B]. Raises ValueError when the batch holds one
    identity only.
    """
    with torch.autocast(features.device.type, enabled=False):
        d = distances(features, features)
        same = labels[:, None] == labels[None]
        if bool(same.all()):
            raise ValueError("weighted triplet needs at least two identities in a batch")
        positive = (torch.softmax(d.masked_fill(~same, -torch.inf), 1) * d).sum(1)
        negative = (torch.softmax((-d).masked_fill(same, -torch.inf), 1) * d).sum(1)
        return nn.functional.softplus(positive - negative).mean()


def restitution_loss(seen: Restored, labels: Tensor) -> Tensor:
    """SNR's dual causality loss of one module (Jin et al. 2020, Eqs. 5 and 6).

    What was restored must pull the same person together and push others apart; what was left out must do the
    reverse. The paper draws a positive and a negative for each anchor; ours takes the hardest by the feature
    without style. seen: three [B,C]; labels [B].
    """
    unit = [nn.functional.normalize(f.float()) for f in (seen.normalised, seen.relevant, seen.irrelevant)]
    plain, more, less = ((1 - f @ f.T) / 2 for f in unit)  # cosine distances 0..1
    same = labels[:, None] == labels[None]
    positive = plain.masked_fill(~same, -torch.inf).argmax(1, keepdim=True)
    negative = plain.masked_fill(same, torch.inf).argmin(1, keepdim=True)
    softplus = nn.functional.softplus
    terms = [
        softplus(more.gather(1, positive) - plain.gather(1, positive))
        + softplus(plain.gather(1, negative) - more.gather(1, negative)),
        softplus(plain.gather(1, positive) - less.gather(1, positive))
        + softplus(less.gather(1, negative) - plain.gather(1, negative)),
    ]
    return (terms[0] + terms[1]).mean()


class CentreLoss(nn.Module):
    """Mean squared distance of features to their identity's centre (BoT Eq. 5; the code's mean, A.8 row 16).

    The centres have an SGD of their own; `undo_weight` removes the loss weight from their gradient before its
    step.
    """

    def __init__(self, identities: int, dim: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(identities, dim))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """features [B,D], labels [B] -> scalar."""
        return (features.float() - self.centres[labels]).square().sum(1).mean()

    def undo_weight(self, weight: float) -> None:
        """Divides the gradient by the loss weight: with it the centres hardly move (BoT issues 43, 221)."""
        if self.centres.grad is not None:
            self.centres.grad /= weight


class ProxyLoss(nn.Module):
    """Cross entropy of a crop's cosines to one learned vector of each identity: Proxy-NCA's idea as softmax.

    Args:
        identities, dim: number and length of the vectors.
        hardest: only so many other identities compete, those most like the crop; 0 for all.
        temperature: that cosines are divided by.
    """

    def __init__(self, identities: int, dim: int, hardest: int, temperature: float) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(identities, dim))
        self.hardest, self.temperature = hardest, temperature

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """features [B,D] of any length, labels [B] -> scalar, the mean over the batch."""
        with torch.autocast(features.device.type, enabled=False):
            unit = nn.functional.normalize(features.float())
            logits = unit @ nn.functional.normalize(self.proxies).T / self.temperature
        if not 0 < self.hardest < len(self.proxies) - 1:
            return nn.functional.cross_entropy(logits, labels)
        right = logits.gather(1, labels[:, None])
        wrong = logits.scatter(1, labels[:, None], -torch.inf).topk(self.hardest, 1).values
        return (torch.cat([right, wrong], 1).logsumexp(1) - right[:, 0]).mean()


class SelfSupervisedLoss(nn.Module):
    """BNTA's training losses: position cross entropy and per-stripe identity cross entropy (Eqs. 5 to 9).

    Sums over stripes, means over the batch. Holds the six training-only classifiers FC^h.
    """

    def __init__(self, identities: int, part_dim: int, parts: int) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(nn.Linear(part_dim, identities, bias=False) for _ in range(parts))
        for classifier in self.classifiers.children():
            assert isinstance(classifier, nn.Linear)
            nn.init.normal_(classifier.weight, std=0.001)

    def forward(self, position_logits: Tensor, parts: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """position_logits [B,P,P], parts [B,P,dim], labels [B] -> position loss, parts' identity loss."""
        ce = nn.functional.cross_entropy
        identity = sum(ce(fc(parts[:, h]), labels) for h, fc in enumerate(self.classifiers))
        return position_loss(position_logits), torch.as_tensor(identity)
