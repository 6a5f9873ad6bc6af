"""What of a PNG makes its pixels, apart from everything that programs write beside them."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_END = b"IEND"
# transparency, and the two places in which programs write how the picture is to be turned
_BESIDE = {b"tRNS", b"eXIf", b"zTXt"}
_MOST_BESIDE = 64 * 1024  # bytes of such a chunk; an orientation needs a few dozen
_PROFILE = b"Raw profile type "  # a text chunk that holds EXIF


def essential(data: bytes, pixels_only: bool = False) -> bytes:
    """A PNG's bytes without chunks that pixels, transparency and orientation do not need, and with an end.

    A damaged chunk that pixels do not need goes too: it must not cost the picture.

    Args:
        pixels_only: leave transparency and orientation out as well.

    Raises ValueError where a chunk that pixels need is damaged: decoders do not look.
    """
    parts, at = [SIGNATURE], len(SIGNATURE)
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, end = data[at + 4 : at + 8], at + 12 + length
        chunk = data[at:end]
        if kind == _END:
            break
        if kind in _PIXELS:
            if len(chunk) == 12 + length and not _is_whole(chunk):
                raise ValueError(f"the checksum of its {kind.decode()} chunk is wrong")
            parts.append(chunk)
        elif not pixels_only and _is_useful(kind, chunk, length):
            parts.append(chunk)
        at = end
    parts.append(_chunk(_END, b""))
    return b"".join(parts)


def frames(data: bytes) -> int:
    """How many pictures an animated PNG says that it holds; 1 for any other."""
    at = data.find(b"acTL", len(SIGNATURE), data.find(b"IDAT") + 1)
    return int.from_bytes(data[at + 4 : at + 8], "big") if at >= 0 else 1


def bit_depth(data: bytes) -> int:
    """Bits a channel."""
    return data[24] if len(data) > 24 else 8


def _is_useful(kind: bytes, chunk: bytes, length: int) -> bool:
    if kind not in _BESIDE or length > _MOST_BESIDE or len(chunk) < 12 + length:
        return False
    if kind == b"zTXt" and not chunk[8:].startswith(_PROFILE):
        return False
    return _is_whole(chunk)


def _is_whole(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
