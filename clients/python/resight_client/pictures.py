"""What may be sent as an image, as a part of a request."""

from __future__ import annotations

import io
import mimetypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Union

from resight_client.values import ResightError

# A path, encoded bytes, or an open binary file. Also an array uint8 [H,W,3] in RGB, [H,W] in grey or [H,W,4],
# and a Pillow image: both are sent as PNG, which needs Pillow (pip install 'resight-client[images]').
Image = Union[str, "os.PathLike[str]", bytes, BinaryIO, Any]
Part = tuple[str, tuple[str, bytes, str]]

_KINDS = "give a path, encoded bytes, an open binary file, an array uint8 [H,W,3] in RGB or a Pillow image"


def parts(images: Image | Iterable[Image]) -> list[Part]:
    """The parts of one image or of several. Raises ResightError for what is none, before anything is sent."""
    return [("images", _part(number, image)) for number, image in enumerate(_each(images))]


def _each(images: Any) -> Iterable[Any]:
    several = _is_array(images) and len(images.shape) == 4  # [N,H,W,3]
    if several or (isinstance(images, Iterable) and not _is_one(images)):
        return images
    return [images]


def _is_one(image: Any) -> bool:
    if isinstance(image, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(image, "read"):
        return True
    return _is_array(image) or _is_pillow(image)


def _part(number: int, image: Any) -> tuple[str, bytes, str]:
    """File name, content and type."""
    kind = "application/octet-stream"
    if isinstance(image, (str, os.PathLike)):
        path = Path(os.fspath(image))
        name = path.name.encode("utf-8", "replace").decode()
        return name, _content(path, str(path)), mimetypes.guess_type(name)[0] or kind
    if isinstance(image, (bytes, bytearray, memoryview)):
        return f"{number}.jpg", bytes(image), kind
    if hasattr(image, "read"):
        return f"{number}.jpg", _content(image, f"image {number}"), kind
    if _is_array(image) or _is_pillow(image):
        return f"{number}.png", _png(image, number), "image/png"
    raise _no_image(f"image {number} is {type(image).__name__}; {_KINDS}")


def _content(source: Any, name: str) -> bytes:
    try:
        data = source.read_bytes() if isinstance(source, Path) else source.read()
    except (OSError, ValueError) as error:
        raise _no_image(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(data, bytes):
        raise _no_image(f"{name} is open as text; open it with mode 'rb'")
    return data


def _png(image: Any, number: int) -> bytes:
    try:
        from PIL import Image as pillow
    except ImportError as error:
        raise _no_image(
            "arrays are sent as PNG, which needs Pillow; install it with: pip install pillow"
        ) from error
    encoded = io.BytesIO()
    try:
        drawn = image if _is_pillow(image) else pillow.fromarray(_pixels(image, number))
        drawn.save(encoded, "PNG", compress_level=1, exif=drawn.getexif())
    except (OSError, ValueError, TypeError, SyntaxError) as error:
        raise _no_image(f"image {number} cannot be sent as PNG: {error}; convert it to RGB") from error
    return encoded.getvalue()


def _pixels(array: Any, number: int) -> Any:
    """An array that Pillow reads as it is meant. Raises ResightError for floats and for other shapes."""
    if str(array.dtype) != "uint8":
        raise _no_image(
            f"image {number} is an array of {array.dtype}; pixels are uint8: values of 0..1 have to be "
            f"multiplied by 255 and rounded first"
        )
    shape = tuple(array.shape)
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))) or 0 in shape:
        raise _no_image(f"image {number} is an array {list(shape)}; {_KINDS}")
    return array[..., 0] if shape[2:] == (1,) else array


def _is_array(image: Any) -> bool:
    """True for a numpy array, and for what only looks like one: the client works without numpy."""
    return all(hasattr(image, name) for name in ("shape", "dtype", "__array_interface__"))


def _is_pillow(image: Any) -> bool:
    return all(hasattr(image, name) for name in ("mode", "size", "getexif", "save"))


def _no_image(sentence: str) -> ResightError:
    return ResightError(0, "no-image", f"{sentence}; nothing was sent")
