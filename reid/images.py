"""Bytes in, crop out: the one definition of decoding and resizing, shared by training, export and server.

Limits are checked on the header, before a pixel is decoded: decoders allocate whatever a header claims.
"""

from __future__ import annotations

import dataclasses
import io
import struct

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

Crop = np.ndarray  # uint8 [H,W,3], RGB, upright

_EXIF_ORIENTATION = 0x0112
# a usual progressive file has about 10; thousands are an attack on the decoder's time
_MAX_JPEG_SCANS = 64


class ImageError(ValueError):
    """These bytes are not an image Resight accepts; the message says why and what would be accepted."""


class ImageTooLarge(ImageError):
    """More bytes or more pixels than the limits allow."""


class UnsupportedImage(ImageError):
    """A format, colour model or bit depth that is not accepted."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is accepted before anything is decoded."""

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 24_000_000
    min_side: int = 8
    max_aspect: float = 20.0  # a person is about 3; beyond 20 the resize would only stretch noise


DEFAULT_LIMITS = Limits()


def decode_crop(data: bytes, height: int, width: int, limits: Limits = DEFAULT_LIMITS) -> Crop:
    """JPEG, PNG or WebP bytes -> upright RGB uint8 [height,width,3], antialiased bilinear.

    Raises ImageTooLarge, UnsupportedImage or ImageError.
    """
    return resize(decode(data, limits), height, width)


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Crop:
    """JPEG, PNG or WebP bytes -> upright RGB uint8 [H,W,3] at its own size. EXIF orientation is applied.

    Raises ImageTooLarge, UnsupportedImage or ImageError.
    """
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the image has {len(data)} bytes; at most {limits.max_bytes} are accepted")
    header = _open_header(data)
    _check_size(header.size, limits)
    frames = getattr(header, "n_frames", 1)
    if frames > 1:
        raise UnsupportedImage(f"the {header.format} is animated ({frames} frames); send one frame")
    if header.mode in ("CMYK", "YCCK", "LAB"):
        raise UnsupportedImage(f"the {header.format} is {header.mode}; convert it to RGB")
    if header.mode.startswith(("I", "F")) or _png_bit_depth(data) == 16:
        raise UnsupportedImage(f"the {header.format} has more than 8 bits a channel; convert it to 8")
    try:
        return _decode_pixels(data, header)
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError, struct.error, MemoryError, EOFError) as error:
        raise ImageError(f"the {header.format} is truncated or damaged: {error}") from error


def resize(image: Crop, height: int, width: int) -> Crop:
    """uint8 [H,W,3] -> uint8 [height,width,3], bilinear with antialiasing, as in torchvision's transforms."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _open_header(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"the image is too large: {error}") from error
    except UnidentifiedImageError as error:
        raise UnsupportedImage("not a JPEG, PNG or WebP image, whatever its name says") from error
    except (OSError, ValueError, SyntaxError, struct.error, EOFError) as error:
        raise ImageError(f"the image header is damaged: {error}") from error


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"the image is {width}x{height}; at most {limits.max_pixels} pixels are accepted")
    if min(size) < limits.min_side:
        raise ImageError(
            f"the image is {width}x{height}; each side must have at least {limits.min_side} pixels"
        )
    if max(size) > limits.max_aspect * min(size):
        raise ImageError(
            f"the image is {width}x{height}; one side may be at most {limits.max_aspect:g} times the other"
        )


def _png_bit_depth(data: bytes) -> int:
    """Bits a channel of a PNG, 8 for anything else. Pillow reports 16-bit RGB as plain RGB."""
    return data[24] if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 24 else 8


def _decode_pixels(data: bytes, header: Image.Image) -> Crop:
    if header.format == "JPEG" and header.mode in ("RGB", "L"):
        if data.count(b"\xff\xda") > _MAX_JPEG_SCANS:
            raise UnsupportedImage(f"the JPEG has more than {_MAX_JPEG_SCANS} scans")
        orientation = header.getexif().get(_EXIF_ORIENTATION, 1) if b"Exif\0" in data[:65536] else 1
        return _upright(simplejpeg.decode_jpeg(data, "RGB"), orientation)
    return np.asarray(ImageOps.exif_transpose(header).convert("RGB"))


def _upright(image: Crop, orientation: int) -> Crop:
    """Applies an EXIF orientation (1..8); other values mean nothing and change nothing."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
