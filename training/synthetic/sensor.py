"""From light to a file: the site's light, the camera's optics and sensor, the detector's crop, JPEG."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageFilter

from training.synthetic.factors import Camera, Sample, Site
from training.synthetic.paint import jpeg

_LAMP = np.array([1.2, 1.0, 0.62])  # the light of street lamps, as far as white balance leaves it
_PALE = 0.68  # how much of a drawn colour's saturation cameras record
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def expose(
    pixels: np.ndarray, site: Site, camera: Camera, sample: Sample, box: float, size: tuple[int, int]
) -> np.ndarray:
    """What the site's recorder gives out for a clean crop.

    Args:
        pixels: uint8 [H,W,3] as drawn.
        box: height of the crop against the person's, so that `site.pixels` is the person's height on the
        sensor.
        size: height and width of what comes out.

    Returns uint8 [*size,3].
    """
    rng = np.random.default_rng((11, sample.seed))
    high = int(np.clip(round(site.pixels * camera.scale * box), 24, 400))
    wide = max(12, round(high * site.squeeze * pixels.shape[1] / pixels.shape[0]))
    image = Image.fromarray(pixels)
    if high < pixels.shape[0] or wide < pixels.shape[1]:
        image = image.resize((wide, high), Image.Resampling.BOX)
    image = _blurred(image, site.motion + 0.05 * sample.night, camera, rng)
    gain = (
        np.array(site.gain)
        * np.array(camera.gain)
        * np.array(sample.cast)
        * site.exposure
        * camera.exposure
        * sample.exposure
        * _LAMP**sample.night
        * (1 - 0.55 * sample.night)
    )
    seen = _lit(np.asarray(image), gain.astype(np.float64), site, camera)
    noise = float(site.noise + 5 * sample.night)
    if noise > 0:
        seen = seen + _grain(seen.shape[:2], noise, rng)
    if site.interlaced:
        shift = max(1, round(rng.uniform(0, 0.03) * wide)) * (1 if sample.yaw < 180 else -1)
        seen[1::2] = np.roll(seen[1::2], shift, axis=1)
    picture = Image.fromarray(np.clip(seen + 0.5, 0, 255).astype(np.uint8))
    if camera.sharpen > 0:
        picture = picture.filter(ImageFilter.UnsharpMask(1.2, int(120 * camera.sharpen), 0))
    recorded = Image.open(io.BytesIO(jpeg(np.asarray(picture), site.quality)))
    how = Image.Resampling.BICUBIC if camera.seed % 2 else Image.Resampling.BILINEAR
    return np.asarray(recorded.convert("RGB").resize((size[1], size[0]), how))


def _blurred(image: Image.Image, motion: float, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """By the lens, and by movement: mostly sideways, since people and cameras turn that way."""
    if camera.blur > 0:
        image = image.filter(ImageFilter.GaussianBlur(camera.blur * image.height / 128))
    if motion > 0:
        reach = motion * image.width / 2
        along, down = (reach * rng.uniform(0.2, 1), reach * max(0.0, rng.uniform(-0.5, 0.5)))
        image = image.filter(ImageFilter.BoxBlur((along, down)))
    return image


def _lit(pixels: np.ndarray, gain: np.ndarray, site: Site, camera: Camera) -> np.ndarray:
    """Linear gains with a soft shoulder, saturation, haze, tone curve and contrast.

    float32 [H,W,3], 0..255.
    """
    grey = np.arange(256) / 255
    linear = grey[:, None] ** 2.2 * gain * (1 - camera.flare) + camera.flare
    bright = np.where(linear > 0.8, 0.8 + 0.2 * np.tanh((linear - 0.8) / 0.2), linear) ** (1 / 2.2)
    seen = np.stack([bright[:, c].astype(np.float32)[pixels[..., c]] for c in range(3)], -1)
    saturation = np.float32(_PALE * site.saturation * camera.saturation)
    luma = (seen @ _LUMA)[..., None]
    seen = luma + (seen - luma) * saturation
    if site.haze:
        seen = seen * np.float32(1 - site.haze) + np.float32(0.72 * site.haze)
    seen = np.clip(seen, 0, 1) ** np.float32(1 / site.gamma)
    contrast = np.float32(site.contrast * camera.contrast)
    return np.clip((seen - 0.42) * contrast + 0.42, 0, 1) * 255


def _grain(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise float32 [H,W,3], two thirds of it common to the channels, coarse or fine.

    A window of one of two fixed sheets, which is fast.
    """
    sheet = _sheet(bool(rng.random() < 0.6))
    y, x = (int(rng.integers(0, sheet.shape[i] - shape[i])) for i in range(2))
    return sheet[y : y + shape[0], x : x + shape[1]] * np.float32(sigma)


@functools.cache
def _sheet(smooth: bool) -> np.ndarray:
    rng = np.random.default_rng(10)
    common, own = rng.normal(0, 0.82, (700, 700, 1)), rng.normal(0, 0.58, (700, 700, 3))
    sheet = common + own
    if smooth:  # a recorder's noise filter leaves soft specks
        for axis in (0, 1):
            sheet = (sheet + np.roll(sheet, 1, axis)) * 0.6
    return sheet.astype(np.float32)
