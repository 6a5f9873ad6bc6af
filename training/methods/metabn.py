"""MetaBN: BatchNorm that can mix features with noise shaped like other domains' features (M3L section 3.4,
methods A.1.5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MetaBatchNorm(nn.BatchNorm1d):
    """A BatchNorm1d, with the same state, and a slot of batch statistics for each meta-train domain.

    Args:
        features: channels. slots: meta-train domains.
        scale: of the noise. `std` is a normal distribution as written; `variance` is the official code, which
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
        """Keeps mean and biased variance of x [B,C]; no gradient ever reaches the domain they come from."""
        x = x.to(self.slot_mean.dtype)
        self.slot_mean[slot], self.slot_var[slot] = x.mean(0), x.var(0, unbiased=False)

    def sample(self, x: Tensor, share: Tensor | None = None) -> list[Tensor]:
        """x [B,C] -> one normalised mixture a slot: share * x + (1 - share) * noise (Eq. 6). Running
        statistics stay.

        Args:
            share: scalar; drawn from Beta(1, 1) once for all slots where it is not given.
        """
        share = torch.rand((), device=x.device) if share is None else share
        deviation = self.slot_var if self.scale == "variance" else (self.slot_var + self.eps).sqrt()
        mixed = [
            share * x + (1 - share) * (mean + std * torch.randn_like(x))
            for mean, std in zip(self.slot_mean, deviation, strict=True)
        ]
        return [
            F.batch_norm(m, None, None, self.weight, self.bias, training=True, eps=self.eps) for m in mixed
        ]
