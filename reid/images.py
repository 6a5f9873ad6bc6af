"""Bytes in, crop out: the one definition of decoding and resizing, shared by training, export and server.

Limits are checked on the header, before a pixel is decoded: decoders allocate whatever a header claims. What
stands beside the pixels (colour profiles, comments, what follows the picture) never costs the picture.
"""

from __future__ import annotations

import dataclasses
import io
import struct
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from reid import png
from reid.jpeg import LOSSLESS_LS, decode_jpeg, kind_and_bits

Crop = np.ndarray  # uint8 [H,W,3], RGB, upright

# What transparent pixels are composed over: the mean colour of ImageNet, which every network's normalisation
# turns into nearly zero.
BACKGROUND = (124, 116, 104)
_EXIF_ORIENTATION = 0x0112
_FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "AVIF")
_NAMES = "JPEG, PNG, WebP or AVIF"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
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
    """The bytes of an image -> upright RGB uint8 [height,width,3], antialiased bilinear; see `decode`.

    Raises ImageTooLarge, UnsupportedImage or ImageError.
    """
    return resize(decode(data, limits), height, width)


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Crop:
    """JPEG, PNG, WebP or AVIF bytes, and HEIC where the extra `heif` is installed -> upright RGB uint8
    [H,W,3] at its own size. Orientation is applied, transparency is composed over BACKGROUND. Of a file with
    several pictures, as phones write them, the first counts; an animation is refused.

    Raises ImageTooLarge, UnsupportedImage or ImageError.
    """
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the image has {len(data)} bytes; at most {limits.max_bytes} are accepted")
    is_png = data.startswith(png.SIGNATURE)
    frames, bits = (png.frames(data), png.bit_depth(data)) if is_png else (1, 8)
    header = _open_png(data) if is_png else _open_header(data)
    _check_size(header.size, limits)
    if header.format in ("WEBP", "AVIF"):
        frames = getattr(header, "n_frames", 1)
    if frames > 1:
        raise UnsupportedImage(f"the {header.format} is animated ({frames} frames); send one frame")
    if header.mode in ("CMYK", "YCCK", "LAB"):
        raise UnsupportedImage(f"the {header.format} is {header.mode}; convert it to RGB")
    if header.mode.startswith(("I", "F")) or bits == 16:
        raise UnsupportedImage(f"the {header.format} has more than 8 bits a channel; convert it to 8")
    try:
        return _decode_pixels(data, header)
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError, struct.error, MemoryError, EOFError) as error:
        raise ImageError(f"the {header.format} is truncated or damaged: {error}") from error


class CropSize(NamedTuple):
    """To what crops are resized, and how. A server and a bundle know bilinear alone."""

    height: int
    width: int
    interpolation: str = "bilinear"  # or bicubic

    @classmethod
    def of(cls, size: tuple[Any, ...]) -> CropSize:
        """(height, width), or one of these."""
        return cls(*size)


def resize(image: Crop, height: int, width: int, interpolation: str = "bilinear") -> Crop:
    """uint8 [H,W,3] -> uint8 [height,width,3], with antialiasing, as in torchvision's transforms."""
    if image.shape[:2] == (height, width):
        return image
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    return np.asarray(Image.fromarray(image).resize((width, height), filters[interpolation]))


def _open_header(data: bytes) -> Image.Image:
    formats = _FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        formats = ("HEIF",)
        _use_heif()
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"the image is too large: {error}") from error
    except UnidentifiedImageError as error:
        raise UnsupportedImage(_foreign(data)) from error
    except (OSError, ValueError, SyntaxError, struct.error, EOFError) as error:
        raise ImageError(f"the image header is damaged: {error}") from error


def _foreign(data: bytes) -> str:
    """Why Pillow knows no picture in these bytes."""
    frame = kind_and_bits(data) if data.startswith(b"\xff\xd8") else None
    if frame is not None and frame[0] == LOSSLESS_LS:
        return f"a JPEG-LS image; send {_NAMES}"
    if frame is not None and frame[1] != 8:
        return f"the JPEG has {frame[1]} bits a channel; convert it to 8"
    return f"not a {_NAMES} image, whatever its name says"


def _open_png(data: bytes) -> Image.Image:
    try:
        essential = png.essential(data)
    except ValueError as error:
        raise ImageError(f"the PNG is truncated or damaged: {error}") from error
    try:
        return _open_header(essential)
    except ImageError:  # what stands beside the pixels may be what Pillow cannot read
        return _open_header(png.essential(data, pixels_only=True))


def _use_heif() -> None:
    """Teaches Pillow to read HEIC. Raises UnsupportedImage where that is not installed."""
    try:
        import pillow_heif
    except ImportError as error:
        raise UnsupportedImage(
            f"a HEIC image; send {_NAMES}, or install what reads it: pip install -e '.[heif]'"
        ) from error
    pillow_heif.register_heif_opener(thumbnails=False)


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


def _decode_pixels(data: bytes, header: Image.Image) -> Crop:
    orientation = _orientation(header)
    if header.format in ("JPEG", "MPO") and header.mode in ("RGB", "L"):
        if data.count(b"\xff\xda") > _MAX_JPEG_SCANS:
            raise UnsupportedImage(f"the JPEG has more than {_MAX_JPEG_SCANS} scans")
        return _upright(decode_jpeg(data), orientation)
    if header.has_transparency_data:
        return _upright(_composed(header), orientation)
    return _upright(np.asarray(header.convert("RGB")), orientation)


def _orientation(header: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, wherever it stands; 1 where there is none that can be read."""
    try:
        orientation = header.getexif().get(_EXIF_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error, EOFError):
        return 1
    return orientation if isinstance(orientation, int) else 1


def _composed(image: Image.Image) -> Crop:
    """uint8 [H,W,3]: the picture over BACKGROUND. Raises ImageError where nothing of it is visible."""
    pixels = image.convert("RGBA")
    alpha = pixels.getchannel("A")
    if alpha.getextrema() == (0, 0):
        raise ImageError(f"the {image.format} is transparent everywhere; nothing of it is visible")
    ground = Image.new("RGB", pixels.size, BACKGROUND)
    ground.paste(pixels.convert("RGB"), mask=alpha)
    return np.asarray(ground)


def _upright(image: Crop, orientation: int) -> Crop:
    """Applies an EXIF orientation (1..8); other values mean nothing and change nothing."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
