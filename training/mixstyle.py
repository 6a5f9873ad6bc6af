"""MixStyle (Zhou et al. 2021): crops of a batch exchange part of each other's style while training.

A map's style is the mean and deviation of each channel. No exported network contains any of this.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from training.checks import at_least, within

_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class MixStyle:
    """Numbers of MixStyle; a chance of 0 turns it off."""

    chance: float = 0.0  # of each batch and each stage; paper 0.5
    alpha: float = 0.1  # of the Beta distribution that shares are drawn from; paper 0.1

    def __post_init__(self) -> None:
        within(0, 1, self, "chance")
        at_least(0.001, self, "alpha")


class StyleMixer:
    """Mixes the styles of a batch (section 2.2 of the paper); its random numbers are torch's."""

    def __init__(self, settings: MixStyle) -> None:
        self.settings = settings

    def __call__(self, x: Tensor) -> Tensor:
        """float [B,C,H,W] -> the same shape: each crop with a mix of its own style and another crop's."""
        if torch.rand(()) >= self.settings.chance:
            return x
        count = len(x)
        other = torch.randperm(count).to(x.device)
        alpha = torch.full((count, 1, 1, 1), self.settings.alpha)
        share = torch.distributions.Beta(alpha, alpha).sample().to(x)
        return mix(x, other, share)


def mix(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """float [B,C,H,W] with `share` [B,1,1,1] of its own style and the rest of that of crop `other` [B].

    Gradients reach the normalised map alone, as in the paper's code.
    """
    mean = x.mean(dim=(2, 3), keepdim=True).detach()
    deviation = (x.var(dim=(2, 3), keepdim=True) + _EPSILON).sqrt().detach()
    mixed_mean = share * mean + (1 - share) * mean[other]
    mixed_deviation = share * deviation + (1 - share) * deviation[other]
    return (x - mean) / deviation * mixed_deviation + mixed_mean
