"""From light to a file: the site's light, the camera's optics and sensor, the detector's crop, JPEG."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageFilter

from training.synthetic.factors import Camera, Sample, Site
from training.synthetic.paint import jpeg

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
    wide = max(12, round(high * pixels.shape[1] / pixels.shape[0]))
    image = Image.fromarray(pixels)
    if high < pixels.shape[0]:
        image = image.resize((wide, high), Image.Resampling.BOX)
    if site.motion > 0:
        image = image.filter(
            ImageFilter.BoxBlur((max(0.0, site.motion * image.width * rng.uniform(0.2, 1) / 2), 0))
        )
    gain = (
        np.array(site.gain)
        * np.array(camera.gain)
        * np.array(sample.cast)
        * site.exposure
        * camera.exposure
        * sample.exposure
    )
    seen = _lit(np.asarray(image), gain.astype(np.float64), site)
    if site.noise > 0:
        seen = seen + _grain(seen.shape[:2], float(site.noise), rng)
    recorded = io.BytesIO(jpeg(np.clip(seen + 0.5, 0, 255).astype(np.uint8), site.quality))
    return np.asarray(
        Image.open(recorded).convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
    )


def _lit(pixels: np.ndarray, gain: np.ndarray, site: Site) -> np.ndarray:
    """Linear gains with a soft shoulder, saturation, haze, tone curve and contrast.

    float32 [H,W,3], 0..255.
    """
    grey = np.arange(256) / 255
    linear = grey[:, None] ** 2.2 * gain
    bright = np.where(linear > 0.8, 0.8 + 0.2 * np.tanh((linear - 0.8) / 0.2), linear) ** (1 / 2.2)
    seen = np.stack([bright[:, c].astype(np.float32)[pixels[..., c]] for c in range(3)], -1)
    if site.saturation != 1:
        luma = seen @ _LUMA
        seen = luma[..., None] + (seen - luma[..., None]) * np.float32(site.saturation)
    if site.haze:
        seen = seen * np.float32(1 - site.haze) + np.float32(0.72 * site.haze)
    seen = np.clip(seen, 0, 1) ** np.float32(1 / site.gamma)
    return np.clip((seen - 0.45) * np.float32(site.contrast) + 0.45, 0, 1) * 255


def _grain(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise float32 [H,W,3], two thirds of it common to the channels.

    A window of one fixed sheet, which is fast.
    """
    sheet = _sheet()
    y, x = (int(rng.integers(0, sheet.shape[i] - shape[i])) for i in range(2))
    return sheet[y : y + shape[0], x : x + shape[1]] * np.float32(sigma)


@functools.cache
def _sheet() -> np.ndarray:
    rng = np.random.default_rng(10)
    common, own = rng.normal(0, 0.82, (700, 700, 1)), rng.normal(0, 0.58, (700, 700, 3))
    return (common + own).astype(np.float32)
