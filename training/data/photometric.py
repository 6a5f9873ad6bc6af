"""Changes of colour and sharpness that another camera would make, drawn anew for every crop.

The numbers are drawn on the CPU, each crop from a generator of its own; pixels are changed on the training
device, the whole batch at once. A resumed run therefore draws the same numbers.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.checks import at_least, within
from training.data.jpeg import compress

_SHARES = (0.7, 0.5, 0.35)  # sizes that a crop is scaled down to
_TAPS = 3  # pixels at each side of a blur's centre
_BANK = 1 << 21  # random numbers that noise is cut from
_GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601)


class Draws(NamedTuple):
    """What a crop is changed by: a number each, or for a batch a float32 tensor [B] each."""

    red: Any  # gains, exposure and white balance together
    green: Any
    blue: Any
    gamma: Any
    contrast: Any
    saturation: Any
    blur: Any  # standard deviation in pixels, 0 for none
    noise: Any  # standard deviation, of 255
    offset: Any  # into the bank of noise
    share: Any  # of the size, that the crop is scaled to and back; 1 for none
    quality: Any  # of JPEG, 1 to 100; 0 for no compression


@dataclasses.dataclass(frozen=True)
class Photometric:
    """How far colours and sharpness may change. The defaults change nothing."""

    exposure: float = 0.0  # brightness times exp(-x..x)
    white_balance: float = 0.0  # standard deviation of each channel's log gain
    gamma: float = 0.0  # the exponent is exp(-x..x)
    contrast: float = 0.0  # times exp(-x..x) around the crop's mean
    saturation: float = 0.0  # times exp(-x..x)
    grey: float = 0.0  # share of crops without colour
    blur: float = 0.0  # share of crops that are blurred
    blur_pixels: float = 1.5  # its largest standard deviation
    noise: float = 0.0  # share of crops with noise
    noise_level: float = 12.0  # its largest standard deviation, of 255
    downscale: float = 0.0  # share of crops that lose detail by scaling down and up again
    jpeg: float = 0.0  # share of crops that are compressed as JPEG does it
    jpeg_quality: tuple[float, float] = (15.0, 75.0)  # lowest and highest

    def __post_init__(self) -> None:
        within(0, 1, self, "grey", "blur", "noise", "downscale", "jpeg")
        at_least(0, self, "exposure", "white_balance", "gamma", "contrast", "saturation")
        within(0, _TAPS / 2, self, "blur_pixels")  # a wider blur would be cut off
        at_least(0, self, "noise_level")
        within(1, 100, self, "jpeg_quality")
        if self.jpeg_quality[0] > self.jpeg_quality[1]:
            raise ValueError(f"jpeg_quality is {list(self.jpeg_quality)}; put the lower one first")

    @property
    def changes(self) -> bool:
        """False if every draw leaves a crop as it is."""
        strengths = (self.exposure, self.white_balance, self.gamma, self.contrast, self.saturation)
        return any(strengths) or any((self.grey, self.blur, self.noise, self.downscale, self.jpeg))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """float32 [11], the fields of `Draws`. Takes the same number of draws whatever the settings are."""
        exposure, gamma, contrast, saturation = rng.uniform(-1, 1, 4)
        balance = self.white_balance * rng.standard_normal(3)
        happens = rng.random(4)  # grey, blur, noise, downscale
        size = rng.random(4)  # of blur and noise, the noise's place, which share
        compressed, coarse = rng.random(2)
        low, high = self.jpeg_quality
        red, green, blue = np.exp(self.exposure * exposure + balance)
        return np.array(
            Draws(
                red=red,
                green=green,
                blue=blue,
                gamma=np.exp(self.gamma * gamma),
                contrast=np.exp(self.contrast * contrast),
                saturation=0.0 if happens[0] < self.grey else np.exp(self.saturation * saturation),
                blur=self.blur_pixels * size[0] if happens[1] < self.blur else 0.0,
                noise=self.noise_level * size[1] if happens[2] < self.noise else 0.0,
                offset=size[2],
                share=_SHARES[int(size[3] * len(_SHARES))] if happens[3] < self.downscale else 1.0,
                quality=round(low + coarse * (high - low)) if compressed < self.jpeg else 0,
            ),
            np.float32,
        )


def change(crops: Tensor, draws: Tensor) -> Tensor:
    """uint8 [B,H,W,3] and float32 [B,11] of `Photometric.draw` -> uint8 [B,H,W,3].

    In this order: gains, gamma, saturation, contrast, blur, noise, fewer pixels, JPEG. What padding and
    erasing painted is changed with the rest of the crop.
    """
    d = Draws(*draws.unbind(1))
    x = crops.permute(0, 3, 1, 2).float().div_(255)  # [B,3,H,W]; changed in place, which is faster on a CPU
    x.mul_(torch.stack([d.red, d.green, d.blue], 1)[:, :, None, None]).clamp_(0, 1)
    x.pow_(_as_image(d.gamma))
    red, green, blue = (x[:, channel : channel + 1] for channel in range(3))
    grey = _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue
    x.sub_(grey).mul_(_as_image(d.saturation)).add_(grey)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    x.sub_(mean).mul_(_as_image(d.contrast)).add_(mean)
    _blur(x, d.blur)
    _add_noise(x, d.noise, d.offset)
    _rescale(x.clamp_(0, 1), d.share)
    x.mul_(255).round_().clamp_(0, 255)
    chosen = torch.nonzero(d.quality).flatten()
    if len(chosen):
        x[chosen] = compress(x[chosen], d.quality[chosen])
    return x.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _as_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _blur(x: Tensor, sigma: Tensor) -> None:
    """Gaussian blur of each crop, in place, with its own standard deviation [B]."""
    chosen = torch.nonzero(sigma > 0.05).flatten()
    if not len(chosen):
        return
    steps = torch.arange(-_TAPS, _TAPS + 1, device=x.device)
    kernel = torch.exp(-0.5 * (steps / sigma[chosen, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)  # [B,7]
    y = x[chosen]
    for axis, pad in ((3, (_TAPS, _TAPS, 0, 0)), (2, (0, 0, _TAPS, _TAPS))):  # along rows, then columns
        size, padded = y.shape[axis], F.pad(y, pad, mode="replicate")
        y = torch.zeros_like(y)
        for tap in range(len(steps)):
            y.addcmul_(_as_image(kernel[:, tap]), padded.narrow(axis, tap, size))
    x[chosen] = y


def _add_noise(x: Tensor, level: Tensor, offset: Tensor) -> None:
    """Adds normal random numbers, in place, each crop's cut from the bank at its offset (0 to 1)."""
    chosen = torch.nonzero(level).flatten()
    bank, size = _noise_bank(x.device), x[0].numel()
    first = (offset[chosen].double() * (len(bank) - size)).long()
    noise = bank[first[:, None] + torch.arange(size, device=x.device)].view(-1, *x.shape[1:])
    x[chosen] = x[chosen].addcmul_(_as_image(level[chosen] / 255), noise)


@functools.cache
def _noise_bank(device: torch.device) -> Tensor:
    return torch.from_numpy(np.random.default_rng(18).standard_normal(_BANK, np.float32)).to(device)


def _rescale(x: Tensor, share: Tensor) -> None:
    """Scales each crop to its share of the size and back to the size it had, in place."""
    height, width = x.shape[2:]
    for value in _SHARES:
        chosen = torch.nonzero((share - value).abs() < 1e-3).flatten()
        if len(chosen):
            small = (max(1, round(height * value)), max(1, round(width * value)))
            y = F.interpolate(x[chosen], small, mode="area")
            x[chosen] = F.interpolate(y, (height, width), mode="bilinear")
