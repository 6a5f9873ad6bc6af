"""Media types of kept images."""

from __future__ import annotations

_AVIF_BRANDS = {b"avif", b"avis"}


def media_type_of(data: bytes) -> str:
    """The media type of an image that was accepted: JPEG, PNG, WebP, AVIF or HEIC."""
    if data.startswith(b"\x89PNG"):
        return "image/png"
    if data.startswith(b"RIFF"):
        return "image/webp"
    if data[4:8] != b"ftyp":
        return "image/jpeg"
    box = data[8 : int.from_bytes(data[:4], "big")]  # brands of four bytes each; the second is a version
    brands = {box[at : at + 4] for at in range(0, len(box), 4) if at != 4}
    return "image/avif" if brands & _AVIF_BRANDS else "image/heic"
