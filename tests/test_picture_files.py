"""No harmless picture is lost, and none is silently wrong: what real files hold beside and between pixels."""

from __future__ import annotations

import builtins
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter, PngImagePlugin

from reid import png
from reid.images import BACKGROUND, Crop, ImageError, UnsupportedImage, decode
from training.data.pixels import read_crop

ORIENTATION = 0x0112
DRAWN = Image.fromarray(
    np.random.default_rng(0).integers(0, 255, (8, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
)
TURNED = np.asarray(DRAWN.transpose(Image.Transpose.ROTATE_270))  # upright, where the file says orientation 6
PIXELS = np.asarray(DRAWN)
SIX = Image.Exif()
SIX[ORIENTATION] = 6


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def near(image: Crop, expected: np.ndarray, by: float = 2) -> bool:
    """Whether two pictures differ by no more than a JPEG's rounding, on average."""
    return image.shape == expected.shape and np.abs(image.astype(int) - expected.astype(int)).mean() < by


def with_chunk(data: bytes, kind: bytes, content: bytes, damaged: bool = False) -> bytes:
    """A PNG with another chunk behind its header."""
    check = zlib.crc32(kind + content) ^ damaged
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
    return data[:33] + chunk + data[33:]


JPEG, PNG = encoded(DRAWN, "JPEG", subsampling=0, quality=95), encoded(DRAWN, "PNG")
LARGE_TEXT = PngImagePlugin.PngInfo()
LARGE_TEXT.add_itxt("comment", "x" * 2_000_000)


@pytest.mark.parametrize(
    "data",
    [
        encoded(DRAWN, "JPEG", subsampling=0, quality=95, progressive=True),
        encoded(
            DRAWN, "MPO", subsampling=0, quality=95, save_all=True, append_images=[Image.new("RGB", (32, 64))]
        ),
        JPEG[:-2],
        JPEG + b"trailer" * 1000,
        encoded(DRAWN, "JPEG", subsampling=0, quality=95, icc_profile=b"p" * 130_000),
        JPEG[:-2] + b"\0\0" + JPEG[-2:],
        encoded(DRAWN, "PNG", pnginfo=LARGE_TEXT),
        encoded(DRAWN, "PNG", icc_profile=b"p" * 2_000_000),
        with_chunk(PNG, b"eXIf", b"\0\x08\0\x02nonsense"),
        with_chunk(PNG, b"tEXt", b"comment\0text", damaged=True),
        with_chunk(PNG, b"tRNS", struct.pack(">HHH", *PIXELS[0, 0].tolist()), damaged=True),
        with_chunk(PNG, b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"0" * 5_000_000)),
        PNG[:-12],
        PNG + b"trailer" * 1000,
        encoded(DRAWN, "WEBP", lossless=True, exif=b"Exif\0\0nonsense"),
        encoded(DRAWN, "AVIF", subsampling="4:4:4", quality=95),
    ],
    ids=[
        "progressive",
        "two pictures",
        "without its last two bytes",
        "trailer",
        "large profile",
        "stray bytes",
        "large text in a PNG",
        "large profile in a PNG",
        "damaged EXIF in a PNG",
        "damaged text in a PNG",
        "damaged transparency in a PNG",
        "a text that unpacks without end",
        "PNG without its end",
        "trailer of a PNG",
        "damaged EXIF in a WebP",
        "AVIF",
    ],
)
def test_what_stands_beside_the_pixels_never_costs_the_picture(data: bytes) -> None:
    is_lossless = data[:4] in (PNG[:4], b"RIFF")
    assert near(decode(data), PIXELS, by=0.01 if is_lossless else 2)


def test_a_chroma_sampling_that_the_fast_decoder_does_not_know_is_decoded_all_the_same() -> None:
    data = (Path(__file__).parent / "fixtures" / "sampling-410.jpg").read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        assert near(decode(data), np.asarray(image.convert("RGB")), by=0.5)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9"])
def test_a_picture_that_lacks_pixels_is_refused(share: float, ending: bytes) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8))
    for data in (encoded(noise, "JPEG"), encoded(noise, "PNG"), encoded(noise, "WEBP", lossless=True)):
        with pytest.raises(ImageError, match=r"truncated or damaged|header is damaged"):
            decode(data[: int(share * len(data))] + ending)


def test_damaged_pixels_of_a_png_are_refused() -> None:
    at = PNG.index(b"IDAT") + 20
    with pytest.raises(ImageError, match="PNG"):
        decode(PNG[:at] + bytes([PNG[at] ^ 255]) + PNG[at + 1 :])


@pytest.mark.parametrize(
    "data",
    [
        encoded(DRAWN, "JPEG", subsampling=0, quality=95, exif=SIX),
        encoded(DRAWN, "JPEG", subsampling=0, quality=95, exif=SIX, icc_profile=b"p" * 130_000),
        encoded(DRAWN, "PNG", exif=SIX),
        encoded(DRAWN.convert("RGBA"), "PNG", exif=SIX),
        with_chunk(encoded(DRAWN, "PNG", exif=SIX), b"tRNS", b"nonsense", damaged=True),
        with_chunk(
            PNG,
            b"zTXt",
            b"Raw profile type exif\0\0"
            + zlib.compress(b"\nexif\n%8d\n" % len(SIX.tobytes()) + SIX.tobytes().hex().encode()),
        ),
        encoded(DRAWN, "WEBP", lossless=True, exif=SIX),
    ],
    ids=[
        "JPEG",
        "JPEG behind a large profile",
        "PNG",
        "PNG with transparency",
        "PNG with a damaged chunk",
        "profile in a PNG",
        "WebP",
    ],
)
def test_orientation_is_found_wherever_it_stands(data: bytes) -> None:
    assert near(decode(data), TURNED)


def cut_out(hidden: Image.Image, alpha: Image.Image, kind: str) -> bytes:
    """The drawn picture with other colours under its transparent pixels."""
    picture = Image.composite(DRAWN, hidden, alpha.point(lambda a: 255 if a else 0))
    picture.putalpha(alpha)
    return encoded(picture, kind, lossless=True, exact=True) if kind == "WEBP" else encoded(picture, kind)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_hidden_under_transparent_pixels_changes_nothing(kind: str) -> None:
    alpha = Image.new("L", DRAWN.size, 0)
    alpha.paste(255, (8, 8, 24, 56))
    alpha = alpha.filter(ImageFilter.BoxBlur(1))
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, PIXELS.shape, np.uint8))
    hidden = [Image.new("RGB", DRAWN.size, "black"), Image.new("RGB", DRAWN.size, "white"), noise]
    first, *others = (decode(cut_out(each, alpha, kind)) for each in hidden)
    assert tuple(first[0, 0]) == BACKGROUND
    assert np.array_equal(first[12:50, 12:20], PIXELS[12:50, 12:20])
    for other in others:
        assert np.array_equal(first, other)


def test_transparency_of_a_palette_or_of_one_colour_is_transparency_too(tmp_path: Path) -> None:
    plain = Image.new("RGB", (32, 64), (0, 200, 0))
    plain.paste((200, 0, 0), (0, 0, 32, 20))
    for image, see_through in ((plain, (0, 200, 0)), (plain.quantize(4), 0)):
        path = tmp_path / "x.png"
        image.save(path, transparency=see_through)
        crop = read_crop(path)  # training reads what the server reads
        assert BACKGROUND in {tuple(crop[0, 0]), tuple(crop[-1, -1])}
        assert tuple(crop[0, 0]) != tuple(crop[-1, -1])


def test_a_picture_of_which_nothing_is_visible_is_refused() -> None:
    with pytest.raises(ImageError, match="transparent everywhere; nothing of it is visible"):
        decode(encoded(Image.new("RGBA", (32, 64), (9, 9, 9, 0)), "PNG"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind: str) -> None:
    second = DRAWN.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    with pytest.raises(UnsupportedImage, match=f"the {kind} is animated \\(2 frames\\); send one frame"):
        decode(encoded(DRAWN, kind, save_all=True, append_images=[second]))


def test_heic_is_read_where_its_extra_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    assert near(decode(encoded(DRAWN, "HEIF", quality=95)), PIXELS, by=8)


def test_heic_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedImage, match=r"a HEIC image; .*pip install -e '.\[heif\]'"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400))


def test_a_png_keeps_what_its_picture_needs() -> None:
    data = encoded(DRAWN.quantize(8), "PNG", transparency=0, exif=SIX, pnginfo=LARGE_TEXT)
    kept = png.essential(data)
    assert all(kind in kept for kind in (b"PLTE", b"tRNS", b"eXIf")) and b"iTXt" not in kept
    assert b"tRNS" not in png.essential(data, pixels_only=True)


SMOOTH = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 2, 3), np.uint8)).resize(
        (16, 32), Image.Resampling.BICUBIC
    )
)  # what the files of rare kinds show
FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("name", ["jpeg-lossless.jpg", "jpeg-lossless-gray.jpg", "avif-10bit.avif"])
def test_rare_kinds_are_decoded(name: str) -> None:
    expected = SMOOTH[..., :1].repeat(3, 2) if "gray" in name else SMOOTH
    assert near(decode((FIXTURES / name).read_bytes()), expected, 2 if name.endswith("avif") else 0.01)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("jpeg-12bit.jpg", "12 bits a channel; convert it to 8"), ("jpeg-ls.jpg", "a JPEG-LS image; send JPEG")],
)
def test_rare_kinds_that_are_not_decoded_are_named(name: str, sentence: str) -> None:
    data = (FIXTURES / name).read_bytes()
    with pytest.raises(UnsupportedImage, match=sentence):
        decode(data)
    for length in range(len(data)):  # wherever it is cut off, it is refused
        with pytest.raises(ImageError):
            decode(data[:length])
