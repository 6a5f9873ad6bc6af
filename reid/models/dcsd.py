"""DCSD: a 3x3 convolution whose filters depend on the crop, its domain and its camera (methods A.2).

The layer is depthwise; the 1x1 convolutions around it mix the channels. Domain and camera are predicted from
the crop, so nothing but the crop is needed at test time.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 9
_GAIN = math.sqrt(2) / 3  # gain of a ReLU over the side of the filter
# hidden share of the channel branch; reconstructed from the paper's parameter count (methods A.2.4)
_SQUEEZE = 0.2
_EPS = 1e-5  # inside the root: equal taps would blow up the gradient otherwise


class DynamicConv(nn.Module):
    """One DCSD module, in place of a 3x3 convolution.

    Args:
        channels: in and out. stride: 1 or 2.
        domain, camera: whether these embeddings shift the input of the filter branches (the paper's Table V).
    """

    def __init__(self, channels: int, stride: int = 1, domain: bool = True, camera: bool = True) -> None:
        super().__init__()
        self.stride = stride
        self.domain = _mlp(channels) if domain else None
        self.camera = _mlp(channels) if camera else None
        # filters send no gradient to the embeddings, which learn from domain and camera alone (Table VI)
        self.detach = True
        self.spatial = nn.Conv2d(channels, TAPS, 1, stride)
        hidden = int(_SQUEEZE * channels)
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, TAPS * channels)
        )
        self.gain = nn.Parameter(torch.randn(channels, TAPS) * _GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,ceil(H/stride),ceil(W/stride)].

        The filters see x shifted by the embeddings, the sum sees x itself (Eq. 2).
        """
        channels, positions = self.filters(x)
        return apply_filters(x, channels.to(x.dtype), positions.to(x.dtype), self.stride)

    def filters(self, x: Tensor, shifted: bool = True) -> tuple[Tensor, Tensor]:
        """[B,C,H,W] -> its filters as two factors, channels [B,C,9] and positions [B,9,H',W'].

        Args:
            shifted: False leaves the embeddings of domain and camera out, as Figure 5 draws it.
        """
        pooled, maps = x.mean(dim=(2, 3)), self.spatial(x)
        mlps = (self.domain, self.camera) if shifted else ()
        embeddings = [mlp(pooled) for mlp in mlps if mlp is not None]
        for embedding in embeddings:
            shift = embedding.detach() if self.detach else embedding
            # a shift of every position by e shifts a 1x1 convolution by W e, and the mean by e
            maps = maps + F.linear(shift, self.spatial.weight.flatten(1))[:, :, None, None]
            pooled = pooled + shift
        positions = filter_norm(maps, 1) * _GAIN
        channels = filter_norm(self.channel(pooled).unflatten(1, (-1, TAPS)), 2) * self.gain
        return channels, positions


def filter_norm(taps: Tensor, dim: int) -> Tensor:
    """Zero mean and unit (unbiased) deviation over the nine taps, in at least float32 (FilterNorm of DDF)."""
    taps = taps.to(torch.promote_types(taps.dtype, torch.float32))
    centred = taps - taps.mean(dim, keepdim=True)
    return centred / (centred.square().sum(dim, keepdim=True) / (TAPS - 1) + _EPS).sqrt()


def apply_filters(x: Tensor, channels: Tensor, positions: Tensor, stride: int) -> Tensor:
    """sum_t A[c,t] S[t,p] x[c, stride p + offset_t] with zero padding (Eq. 1).

    x [B,C,H,W]; channels A [B,C,9]; positions S [B,9,H',W']. Written as nine strided slices, which can be
    exported and differentiated twice.
    """
    height, width = positions.shape[2:]
    padded = F.pad(x, (1, 1, 1, 1))
    total = torch.zeros((), dtype=x.dtype, device=x.device)
    for t in range(TAPS):
        rows = slice(t // 3, t // 3 + stride * (height - 1) + 1, stride)
        columns = slice(t % 3, t % 3 + stride * (width - 1) + 1, stride)
        total = total + channels[:, :, t, None, None] * positions[:, t : t + 1] * padded[:, :, rows, columns]
    return total


def dynamic_layers(model: nn.Module) -> list[DynamicConv]:
    """Every DCSD module, in order."""
    return [m for m in model.modules() if isinstance(m, DynamicConv)]


def _mlp(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, channels))
