"""JPEG bytes -> pixels: libjpeg-turbo's fast path, and Pillow for what that does not know."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from PIL import Image

_END = b"\xff\xd9"
# What libjpeg remarks on although every pixel is there; everything else that it remarks on is damage.
_HARMLESS = ("extraneous bytes before marker", "Invalid SOS parameters", "Inconsistent progression sequence")


def decode_jpeg(data: bytes) -> np.ndarray:
    """A JPEG of three colours or of grey -> uint8 [H,W,3], RGB, as it is stored, at its own size. Behind the
    first picture anything may follow.

    Raises ValueError or OSError where pixels are missing.
    """
    try:
        simplejpeg.decode_jpeg_header(data)
    except ValueError:  # a chroma sampling that the fast path does not know, like 4:1:0
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return np.asarray(image.convert("RGB"))
    try:
        return _fast(data)
    except ValueError:
        # A recorder may have cut the last two bytes. With them in their place, libjpeg remarks on missing
        # pixels and on nothing else.
        if data.endswith(_END):
            raise
        return _fast(data + _END)


def _fast(data: bytes) -> np.ndarray:
    try:
        return simplejpeg.decode_jpeg(data, "RGB")
    except ValueError as error:
        if not any(remark in str(error) for remark in _HARMLESS):
            raise
        return simplejpeg.decode_jpeg(data, "RGB", strict=False)
