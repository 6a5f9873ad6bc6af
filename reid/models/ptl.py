"""PTL: a stream of BConv-Cells beside a backbone, whose state carries over between batches (methods A.4).

The stream reads from the backbone and never writes into it. At test time every state is zero: the network is
then an ordinary one, and the embedding of a crop does not depend on the other crops. The paper's second cell,
with a hidden state of its own, is left out: neither its widths nor code nor numbers for re-identification
were published (methods A.4.6).
"""

from __future__ import annotations

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


class CellStream(nn.Module):
    """The cells beside a backbone and the 1x1 convolutions that join the streams.

    The cells' widths are those of the one published network (A.4.3).

    Args:
        widths: channels behind the backbone's stem and its four stages; the last is also the feature map's.
        last_stride: of the last stage. From the second stage on, a map is half as large as the one before.
    """

    def __init__(self, widths: tuple[int, ...], last_stride: int) -> None:
        super().__init__()
        self.low = low_cells()
        inputs, fused, outputs = (32, 64, 256, 512), (64, 128, 256, 512), (64, 256, 512, 128)
        self.fuse = nn.ModuleList(pointwise(x + y, f) for x, y, f in zip(widths, inputs, fused, strict=False))
        self.cells = nn.ModuleList(
            BConvCell(*sizes) for sizes in zip(fused, outputs, (1, 2, 2, last_stride), strict=True)
        )
        self.out = nn.Conv2d(widths[-1] + outputs[-1], widths[-1], 1)

    def forward(self, image: Tensor, maps: list[Tensor]) -> Tensor:
        """The image and the maps behind the stem and the four stages -> a map of the last one's size."""
        y = self.low(image)
        for x, fuse, cell in zip(maps, self.fuse, self.cells, strict=False):
            y = cell(fuse(torch.cat([x, y], dim=1)))
        return self.out(torch.cat([maps[-1], y], dim=1))


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
