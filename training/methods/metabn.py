"""MetaBN: BatchNorm that can mix features with noise shaped like other domains' features (methods A.1.5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MetaBatchNorm(nn.BatchNorm1d):
    """A BatchNorm1d with the same state, and a slot of batch statistics for each meta-train domain.

    Args:
        features: channels. slots: meta-train domains.
        scale: of the noise. `std` is the paper's normal distribution; `variance` is the official code, which
            passes the variance where the deviation belongs.
    """

    def __init__(self, features: int, slots: int, scale: str = "std") -> None:
        super().__init__(features)
        self.scale = scale
        self.slot_mean: Tensor
        self.slot_var: Tensor
        self.register_buffer("slot_mean", torch.zeros(slots, features), persistent=False)
        self.register_buffer("slot_var", torch.ones(slots, features), persistent=False)

    @torch.no_grad()
    def remember(self, x: Tensor, slot: int) -> None:
        """Stores mean and biased variance of x [B,C]; no gradient reaches the domain that they come from."""
        x = x.to(self.slot_mean.dtype)
        self.slot_mean[slot], self.slot_var[slot] = x.mean(0), x.var(0, unbiased=False)

    def sample(self, x: Tensor, share: Tensor | None = None) -> list[Tensor]:
        """x [B,C] -> one normalised mixture for each slot: share * x + (1 - share) * noise (Eq. 6).

        The running statistics do not change.

        Args:
            share: scalar; drawn from Beta(1, 1) once for all slots where it is not given.
        """
        share = torch.rand((), device=x.device) if share is None else share
        deviation = self.slot_var if self.scale == "variance" else (self.slot_var + self.eps).sqrt()
        mixtures = []
        for mean, std in zip(self.slot_mean, deviation, strict=True):
            mixed = share * x + (1 - share) * (mean + std * torch.randn_like(x))
            mixtures.append(
                F.batch_norm(mixed, None, None, self.weight, self.bias, training=True, eps=self.eps)
            )
        return mixtures
