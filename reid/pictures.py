"""Whatever Python holds a picture in, as a crop: a file, its bytes, an array, a Pillow image."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, BinaryIO, Union

import numpy as np
from PIL import Image

from reid.crops import advice
from reid.images import Crop, ImageError, decode_crop, resize

# an array is uint8 [H,W,3] RGB, [H,W] or [H,W,1] grey, or [H,W,4] RGB with transparency
Picture = Union[str, "os.PathLike[str]", bytes, BinaryIO, np.ndarray, Image.Image]

_KINDS = "a path, encoded bytes, an open binary file, an array uint8 [H,W,3] in RGB or a Pillow image"


def crop_of(picture: Picture, height: int, width: int) -> Crop:
    """Any picture, of any size -> upright RGB uint8 [height,width,3], as `reid.images` makes it.

    Raises ImageError for what cannot be read, and for what is no picture.
    """
    if isinstance(picture, np.ndarray):
        return _of_array(picture, height, width)
    if isinstance(picture, Image.Image):
        return decode_crop(_png(picture), height, width)
    return decode_crop(_bytes_of(picture), height, width)


def is_one(pictures: object) -> bool:
    """True for a single picture, False for what has to be gone through: a batch of arrays is one array."""
    if isinstance(pictures, np.ndarray):
        return pictures.ndim != 4 and pictures.dtype != object
    return isinstance(pictures, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)) or hasattr(
        pictures, "read"
    )


def named(picture: object) -> str:
    """A picture in a message: its path where it has one, otherwise what it is."""
    if isinstance(picture, (str, os.PathLike)):
        return os.fspath(picture)
    if isinstance(picture, np.ndarray):
        return f"array {picture.dtype} {list(picture.shape)}"
    return str(getattr(picture, "filename", "") or getattr(picture, "name", "") or type(picture).__name__)


def _of_array(array: np.ndarray, height: int, width: int) -> Crop:
    if array.dtype != np.uint8:
        raise ImageError(f"pixels are uint8, not {array.dtype}: {advice(array)}")
    channels = array.shape[2] if array.ndim == 3 else 0 if array.ndim == 2 else -1
    if channels not in (0, 1, 3, 4) or not array.size:
        raise ImageError("an array is a picture when it is [H,W,3] in RGB, [H,W] in grey, or [H,W,4]")
    if channels == 3:
        return resize(np.ascontiguousarray(array), height, width)
    return decode_crop(_png(Image.fromarray(array[..., 0] if channels == 1 else array)), height, width)


def _png(image: Image.Image) -> bytes:
    """A Pillow image as a file, so that turning and transparency are treated as those of a file."""
    encoded = io.BytesIO()
    try:
        image.save(encoded, "PNG", compress_level=1, exif=image.getexif())
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(
            f"the Pillow image ({image.mode}) cannot be read: {error}; convert it to RGB"
        ) from error
    return encoded.getvalue()


def _bytes_of(picture: Any) -> bytes:
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return bytes(picture)
    is_path = isinstance(picture, (str, os.PathLike))
    if not is_path and not hasattr(picture, "read"):
        raise ImageError(f"{type(picture).__name__} is no picture; give {_KINDS}")
    try:
        data = Path(picture).read_bytes() if is_path else picture.read()
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        raise ImageError(getattr(error, "strerror", None) or str(error)) from error
    if not isinstance(data, bytes):
        raise ImageError("the file is open as text; open it with mode 'rb'")
    return data
