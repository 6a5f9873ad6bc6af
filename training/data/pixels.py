"""An image file of a dataset -> pixels."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from PIL import Image

from reid.images import Crop, ImageError, decode


def read_crop(path: Path) -> Crop:
    """An image file -> uint8 [H,W,3], RGB, upright, at its own size. Raises OSError or ImageError."""
    return decode(_encoded(path))


def _encoded(path: Path) -> bytes:
    """The file's bytes. VIPeR's bitmaps become PNG, since `decode` accepts no bitmaps."""
    if path.suffix.lower() != ".bmp":
        return path.read_bytes()
    png = io.BytesIO()
    try:
        with Image.open(path, formats=("BMP",)) as bitmap:
            bitmap.convert("RGB").save(png, "PNG")
    except (ValueError, SyntaxError, struct.error, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"the bitmap is damaged: {error}") from error
    return png.getvalue()
