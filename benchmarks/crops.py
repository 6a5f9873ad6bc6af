"""Drawn crops to measure with: JPEGs of a realistic size, of no real person."""

from __future__ import annotations

from training.synthetic.drawn import draw, make_camera, make_identity
from training.synthetic.paint import jpeg


def drawn_jpegs(count: int, seed: int = 0) -> list[bytes]:
    """`count` different JPEG crops of 128x64."""
    views = [make_camera(seed, c) for c in range(4)]
    return [jpeg(draw(make_identity(i // 4), views[i % 4], i)) for i in range(count)]
