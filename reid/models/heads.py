"""BNTA's self-supervised heads (sections 3.3 and 3.4): part positioning and part-nearest-neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid.models.spec import PARTS

PART_DIM = 256


def stripe_weights(rows: int, parts: int = PARTS) -> Tensor:
    """float32 [parts, rows]: row h averages the rows of the h-th horizontal stripe.

    Stripe h covers floor(h*rows/parts) .. ceil((h+1)*rows/parts), as torch's adaptive average pooling does,
    so neighbouring stripes overlap by a row where `rows` is not a multiple of `parts` (methods A.8, row 31).
    Raises ValueError when there are fewer rows than parts.
    """
    if rows < parts:
        raise ValueError(
            f"a map of {rows} rows cannot be cut into {parts} stripes; use last_stride 1 or a taller input"
        )
    weights = torch.zeros(parts, rows)
    for h in range(parts):
        start, end = h * rows // parts, -(-(h + 1) * rows // parts)
        weights[h, start:end] = 1.0 / (end - start)
    return weights


class PartHeads(nn.Module):
    """FC_P and the six Conv^h + BN^h of BNTA.

    The paper does not draw a BN behind Conv^h, but its count of 60 BN layers and 60 K affine parameters
    requires one (methods A.3.2). No activation follows it: the feature is compared by distance and keeps its
    sign.
    """

    def __init__(self, channels: int, rows: int, parts: int = PARTS, dim: int = PART_DIM) -> None:
        super().__init__()
        self.position = nn.Linear(channels, parts)
        self.reduce = nn.ModuleList(nn.Conv2d(channels, dim, 1, bias=False) for _ in range(parts))
        self.bn = nn.ModuleList(nn.BatchNorm2d(dim) for _ in range(parts))
        self.stripes: Tensor
        self.register_buffer("stripes", stripe_weights(rows, parts), persistent=False)
        for conv in self.reduce.children():
            assert isinstance(conv, nn.Conv2d)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        nn.init.normal_(self.position.weight, std=0.01)
        nn.init.zeros_(self.position.bias)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """[B,C,h,w] -> position logits [B,parts,parts], part features [B,parts,dim]."""
        stripes = torch.einsum(
            "bchw,ph->bpc", feature_map / feature_map.shape[-1], self.stripes.to(feature_map.dtype)
        )
        columns = stripes[:, :, :, None, None]  # [B,P,C,1,1]
        parts = [
            bn(conv(columns[:, h])).flatten(1)
            for h, (conv, bn) in enumerate(zip(self.reduce, self.bn, strict=True))
        ]
        return self.position(stripes), torch.stack(parts, dim=1)
