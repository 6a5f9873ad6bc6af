"""The two losses of BNTA at test time (sections 3.3 and 3.4, Eqs. 5 and 8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def position_loss(position_logits: Tensor) -> Tensor:
    """L_pos of BNTA (Eq. 5): cross entropy of 'which stripe is this', summed over stripes, averaged over the
    images of the batch."""
    batch, parts, _ = position_logits.shape
    target = torch.arange(parts, device=position_logits.device).repeat(batch)
    return nn.functional.cross_entropy(position_logits.flatten(0, 1), target) * parts


def matching_loss(parts: Tensor, stripe: Tensor, margin: float = 0.3) -> Tensor:
    """L_mat of BNTA (Eq. 8): one triplet for each pair, at the stripe where the two are nearest; summed.

    Args:
        parts: float [2K, P, dim]; rows k and k+K are the two images of pair k.
        stripe: int64 [K], the nearest stripe n_k of each pair.
        margin: phi.

    The negative is the closest other image of the batch at the same stripe, seen from the first image of the
    pair. A batch of one pair has no negative: its loss is 0.
    """
    pairs = len(stripe)
    if len(parts) != 2 * pairs:
        raise ValueError(f"{pairs} pairs need {2 * pairs} rows of part features, got {len(parts)}")
    if pairs < 2:
        return parts.sum() * 0
    k = torch.arange(pairs, device=parts.device)
    anchor = parts[k, stripe]  # [K,dim]
    everyone = parts[:, stripe]  # [2K,K,dim]: column k at the stripe of pair k
    d = (everyone - anchor[None]).square().sum(-1).clamp_min(1e-12).sqrt().T  # [K,2K]
    positive = d[k, k + pairs]
    same_pair = torch.zeros_like(d, dtype=torch.bool)
    same_pair[k, k] = same_pair[k, k + pairs] = True
    negative = d.masked_fill(same_pair, torch.inf).amin(1)
    return (positive - negative + margin).clamp_min(0).sum()
