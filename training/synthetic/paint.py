"""Colours of 8 bits, and JPEG: what the quick drawer, the background plates and the sensor share."""

from __future__ import annotations

import colorsys
import io

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """From parts of 0 to 1."""
    r, g, b = colorsys.hsv_to_rgb(float(hue), float(saturation), float(value))
    return int(r * 255), int(g * 255), int(b * 255)


def shade(colour: Colour, factor: float) -> Colour:
    """Brighter or darker."""
    r, g, b = (min(255, int(c * factor)) for c in colour)
    return r, g, b


def jpeg(pixels: np.ndarray, quality: int = 88) -> bytes:
    """uint8 [H,W,3] -> JPEG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
