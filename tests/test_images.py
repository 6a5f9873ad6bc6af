"""What `decode_crop` accepts and refuses."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from reid.images import ImageError, ImageTooLarge, Limits, decode, decode_crop


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 3, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(pixels), "JPEG", exif=exif)
    assert np.array_equal(decode(data), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


def test_bad_images_are_refused() -> None:
    good = encoded(Image.new("RGB", (64, 128), (9, 80, 120)), "JPEG")
    bad = [b"", good[: len(good) // 2], b"<svg></svg>", encoded(Image.new("RGB", (1, 1)), "PNG")]
    bad += [encoded(Image.new("CMYK", (64, 128)), "JPEG"), encoded(Image.new("I;16", (64, 128)), "PNG")]
    for data in bad:
        with pytest.raises(ImageError):
            decode_crop(data, 128, 64)
    with pytest.raises(ImageTooLarge):
        decode_crop(good, 128, 64, Limits(max_pixels=100))
    assert decode_crop(good, 256, 128).shape == (256, 128, 3)
