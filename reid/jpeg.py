"""JPEG bytes -> pixels: libjpeg-turbo's fast path, and Pillow for what that does not know."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from PIL import Image

_END = b"\xff\xd9"
LOSSLESS_LS = 0xF7  # the frame of JPEG-LS, which is another format in the same envelope
_FRAMES = {*range(0xC0, 0xD0), LOSSLESS_LS} - {0xC4, 0xC8, 0xCC}  # tables and a reserved marker are none
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
        return _slow(data)
    try:
        return _fast(data)
    except ValueError as error:
        if "Unsupported color conversion" in str(error):  # grey and lossless
            return _slow(data)
        # A recorder may have cut the last two bytes. With them in their place, libjpeg remarks on missing
        # pixels and on nothing else.
        if data.endswith(_END):
            raise
        return _fast(data + _END)


def kind_and_bits(data: bytes) -> tuple[int, int] | None:
    """The second byte of a JPEG's frame marker, like 0xC0, and the bits of a channel; None where there is no
    frame."""
    place = 2
    while place + 5 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in _FRAMES:
            return marker, data[place + 4]
        place += 2 + length
    return None


def _slow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image.convert("RGB"))


def _fast(data: bytes) -> np.ndarray:
    try:
        return simplejpeg.decode_jpeg(data, "RGB")
    except ValueError as error:
        if not any(remark in str(error) for remark in _HARMLESS):
            raise
        return simplejpeg.decode_jpeg(data, "RGB", strict=False)
