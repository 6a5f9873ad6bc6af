"""M3L's memories: one unit vector for each identity, a classifier without parameters (methods A.1.4)."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Memory(nn.Module):
    """The memories of all domains, one after the other; an identity competes only with those of its domain.

    Args:
        identities: of each domain. dim: length of the embeddings.
        momentum: share of the old vector that stays, 0.2 in paper and code. temperature: 0.05 in both.
        update: `mean` is Eq. (2) of the paper, with unit length restored: one step towards the batch's mean
            of an identity; `sequential` is the official code: a step for every crop, so that the last one
            counts most.
    """

    def __init__(
        self, identities: list[int], dim: int, momentum: float, temperature: float, update: str
    ) -> None:
        super().__init__()
        self.momentum, self.temperature, self.rule = momentum, temperature, update
        edges = [0, *torch.tensor(identities).cumsum(0).tolist()]
        self.ranges = list(itertools.pairwise(edges))
        self.vectors: Tensor
        self.register_buffer("vectors", F.normalize(torch.ones(sum(identities), dim)))

    def forward(self, embeddings: Tensor, labels: Tensor, domain: int) -> Tensor:
        """Cross entropy of unit embeddings [B,D] against their domain's memory.

        labels [B] count the identities of all domains.
        """
        low, high = self.ranges[domain]
        with torch.autocast(embeddings.device.type, enabled=False):
            logits = F.linear(embeddings, self.vectors[low:high]) / self.temperature
            return F.cross_entropy(logits, labels - low)

    @torch.no_grad()
    def fill(self, embeddings: Tensor, labels: Tensor) -> None:
        """Sets every vector to the mean of its identity's embeddings [N,D]."""
        self.vectors.copy_(F.normalize(_sums(embeddings, labels, len(self.vectors))))

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Moves the vectors of the identities [B] towards their embeddings [B,D]."""
        embeddings = embeddings.to(self.vectors.dtype)
        if self.rule == "sequential":
            for embedding, label in zip(embeddings, labels, strict=True):
                self.vectors[label] = F.normalize(
                    self.momentum * self.vectors[label] + (1 - self.momentum) * embedding, dim=0
                )
            return
        present = labels.unique()
        means = _sums(embeddings, labels, len(self.vectors))[present] / torch.bincount(labels)[present, None]
        mixed = self.momentum * self.vectors[present] + (1 - self.momentum) * means
        self.vectors[present] = F.normalize(mixed)


def _sums(embeddings: Tensor, labels: Tensor, count: int) -> Tensor:
    return embeddings.new_zeros(count, embeddings.shape[1]).index_add_(0, labels, embeddings)
