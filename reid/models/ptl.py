"""PTL: a stream of BConv-Cells beside a backbone, whose state carries over between batches (methods A.4).

The stream reads from the backbone and never writes into it. At test time every state is zero: the network is
then an ordinary one, and the embedding of a crop does not depend on the other crops.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class BConvCell(nn.Module):
    """C_b = sig(f) C_{b-1} + sig(i) tanh(c); y = sig(o) tanh(C_b), all four gates from one 3x3 convolution.

    C_{b-1} is the state that the last training batch left at the same position of the batch. It is detached,
    starts at zero and is no part of a checkpoint.

    Args:
        inputs, outputs: channels. stride: of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs, 4 * outputs, 3, stride, padding=1)
        self.state: Tensor
        self.register_buffer("state", torch.empty(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B,inputs,H,W] -> [B,outputs,ceil(H/stride),ceil(W/stride)]."""
        i, f, o, c = self.gates(x).chunk(4, dim=1)
        cell = torch.sigmoid(i) * torch.tanh(c)
        if self.training:
            # the state stays in float32 under autocast
            cell = cell.float() + torch.sigmoid(f) * self._fitted(cell.shape)
            self.state = cell.detach()
        return torch.sigmoid(o) * torch.tanh(cell)

    def reset_state(self) -> None:
        """Clears the state."""
        self.state = self.state.new_empty(0)

    def _fitted(self, shape: torch.Size) -> Tensor:
        """The state for a batch of this shape.

        Cut or padded with zeros along the batch; zero where another dimension differs.
        """
        fitted = self.state.new_zeros(shape)
        if self.state.shape[1:] == shape[1:]:
            count = min(len(self.state), shape[0])
            fitted[:count] = self.state[:count]
        return fitted


class BConvCellV2(BConvCell):
    """BConv-Cell-v2 (section II.B): a cell that also recovers what earlier batches put in.

    Its hidden state gathers its outputs; a transposed convolution brings it back to the input's shape, and
    both are convolved together. What the paper leaves open is ours: how outputs are gathered (their running
    mean, half of it the last one's), that convolution's kernel (4 with stride 2, else 3), and that its result
    has the input's channels and no bias, so that an empty state recovers nothing. `state` holds both states.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(2 * inputs, outputs, stride)
        kernel = 2 * stride if stride > 1 else 3
        self.recover = nn.ConvTranspose2d(outputs, inputs, kernel, stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B,inputs,H,W], H and W multiples of the stride -> [B,outputs,H/stride,W/stride]."""
        if not self.training:
            return super().forward(torch.cat([x, torch.zeros_like(x)], dim=1))
        rows, columns = (size // self.gates.stride[0] for size in x.shape[2:])
        outputs = self.gates.out_channels // 4
        both = self._fitted(torch.Size((len(x), 2 * outputs, rows, columns)))
        latent, hidden = both.chunk(2, dim=1)
        i, f, o, c = self.gates(torch.cat([x, self.recover(hidden)], dim=1)).chunk(4, dim=1)
        cell = (torch.sigmoid(i) * torch.tanh(c)).float() + torch.sigmoid(f) * latent
        y = torch.sigmoid(o) * torch.tanh(cell)
        self.state = torch.cat([cell, (y + hidden) / 2], dim=1).detach()
        return y


class StreamPlan(NamedTuple):
    """Widths and strides of the cells beside a backbone; those of the one published network (A.4.3)."""

    inputs: tuple[int, ...] = (32, 64, 256, 512)  # of each 1x1 convolution, from the cell before
    fused: tuple[int, ...] = (64, 128, 256, 512)
    outputs: tuple[int, ...] = (64, 256, 512, 128)
    strides: tuple[int, ...] = (1, 2, 2, 1)


# beside a DenseNet-100 for CIFAR; the paper does not say its widths
SMALL_PLAN = StreamPlan((16, 32, 64), (32, 64, 64), (32, 64, 64), (1, 2, 2))


class CellStream(nn.Module):
    """The cells beside a backbone and the 1x1 convolutions that join the streams.

    Args:
        widths: channels behind the backbone's stem and its stages; the last is also the feature map's.
        plan: of the cells. low: the cells on the image itself, [B,3,H,W] -> a map of the stem's size.
        cell: the kind of the other cells.
    """

    def __init__(
        self, widths: tuple[int, ...], plan: StreamPlan, low: nn.Module, cell: type[BConvCell] = BConvCell
    ) -> None:
        super().__init__()
        self.low = low
        joined = zip(widths, plan.inputs, plan.fused, strict=False)
        self.fuse = nn.ModuleList(pointwise(x + y, f) for x, y, f in joined)
        self.cells = nn.ModuleList(
            cell(*sizes) for sizes in zip(plan.fused, plan.outputs, plan.strides, strict=True)
        )
        self.out = nn.Conv2d(widths[-1] + plan.outputs[-1], widths[-1], 1)

    def forward(self, image: Tensor, maps: list[Tensor]) -> Tensor:
        """The image and the maps behind the stem and the stages -> a map of the last one's size."""
        y = self.low(image)
        for x, fuse, cell in zip(maps, self.fuse, self.cells, strict=False):
            y = cell(fuse(torch.cat([x, y], dim=1)))
        return self.out(torch.cat([maps[-1], y], dim=1))


class FeatureLayer(nn.Module):
    """The 1x1 convolution that makes the feature, of a network without cells (PTL, section VI.B).

    The paper does not print its width. As many channels as the map has give Table I's numbers of parameters.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, image: Tensor, maps: list[Tensor]) -> Tensor:
        """As `CellStream`, of which the last map alone is read."""
        return self.out(maps[-1])


def published_stream(widths: tuple[int, ...], last_stride: int) -> CellStream:
    """The stream of the published network beside a backbone of four stages.

    Args:
        last_stride: of the last stage. From the second stage on, a map is half as large as the one before.
    """
    return CellStream(widths, StreamPlan(strides=(1, 2, 2, last_stride)), low_cells())


def low_cells() -> nn.Module:
    """The cells on the image itself, [B,3,H,W] -> [B,32,H/4,W/4]."""
    return nn.Sequential(BConvCell(3, 16, 2), BConvCell(16, 32, 2))


def reset_states(model: nn.Module) -> None:
    """Clears the state of every cell (the paper: at the beginning of an epoch)."""
    for module in model.modules():
        if isinstance(module, BConvCell):
            module.reset_state()


def pointwise(inputs: int, outputs: int) -> nn.Sequential:
    """A 1x1 convolution with norm and ReLU, which joins two streams."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
