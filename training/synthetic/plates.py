"""Background plates: what a camera sees behind people, several of one place for each camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.synthetic.paint import Colour, hsv, shade

SIZE = 320


def make_plates(seed: int, count: int, pitch: float, indoor: bool) -> np.ndarray:
    """uint8 [count,SIZE,SIZE,3]: one place from slightly different angles, with different objects in it.

    Args:
        seed: of the camera.
        pitch: degrees that the camera looks down; a steep one sees more floor.
    """
    place = np.random.default_rng((9, seed))
    ground, wall, accent = _tone(place, 0.22), _tone(place, 0.3), _tone(place, 0.6)
    kinds: list[Callable] = [_tiles, _planks] if indoor else [_tiles, _asphalt, _grass]
    floor = kinds[int(place.integers(len(kinds)))]
    back = [_bricks, _windows, _panels, _hedge, _fence][int(place.integers(3 if indoor else 5))]
    horizon = int(SIZE * np.clip(0.52 - pitch / 90 + place.uniform(-0.08, 0.12), 0.03, 0.7))
    plates = [
        _plate(np.random.default_rng((9, seed, n)), ground, wall, accent, floor, back, horizon, indoor)
        for n in range(count)
    ]
    return np.stack(plates)


def _plate(
    rng: np.random.Generator,
    ground: Colour,
    wall: Colour,
    accent: Colour,
    floor: Callable,
    back: Callable,
    horizon: int,
    indoor: bool,
) -> np.ndarray:
    horizon = int(np.clip(horizon + rng.integers(-25, 26), 0, SIZE))
    image = Image.new("RGB", (SIZE, SIZE), wall)
    pen = ImageDraw.Draw(image)
    back(pen, rng, wall, accent, horizon)
    pen.rectangle((0, horizon, SIZE, SIZE), fill=ground)
    floor(pen, rng, ground, horizon)
    things = [_bin, _stand, _door] if indoor else [_car, _bin, _bush, _stand]
    for _ in range(int(rng.integers(0, 4))):
        things[int(rng.integers(len(things)))](pen, rng, horizon)
    for _ in range(int(rng.integers(0, 3))):
        _walker(pen, rng, horizon)
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.8, 2.0))))
    pixels = np.asarray(image, np.float32) / 255
    grain = _clouds(rng, 5)[..., None] * 0.22 + _clouds(rng, 60)[..., None] * 0.12
    slope = np.linspace(float(rng.uniform(0.8, 1.15)), float(rng.uniform(0.8, 1.15)), SIZE)[:, None, None]
    return np.clip(pixels * (slope + grain) * 255, 0, 255).astype(np.uint8)


def _clouds(rng: np.random.Generator, cells: int) -> np.ndarray:
    """float32 [SIZE,SIZE] about -1..1: smooth noise of `cells` bumps a side."""
    coarse = Image.fromarray(rng.normal(0, 0.5, (cells + 1, cells + 1)).astype(np.float32), mode="F")
    return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _tone(rng: np.random.Generator, saturation: float) -> Colour:
    return hsv(rng.random(), rng.uniform(0, saturation), rng.uniform(0.25, 0.8))


def _tiles(pen: ImageDraw.ImageDraw, rng: np.random.Generator, ground: Colour, horizon: int) -> None:
    line, step, x0 = (
        shade(ground, rng.uniform(0.75, 1.2)),
        int(rng.integers(25, 80)),
        int(rng.integers(-400, 400)),
    )
    for x in range(-SIZE * 3, SIZE * 4, step):
        pen.line((SIZE / 2 + (x - SIZE / 2) * 0.3 + x0 * 0.1, horizon, x + x0, SIZE), fill=line, width=2)
    y, gap = float(horizon), 5.0
    while y < SIZE:
        pen.line((0, y, SIZE, y), fill=line, width=2)
        y, gap = y + gap, gap * 1.35


def _planks(pen: ImageDraw.ImageDraw, rng: np.random.Generator, ground: Colour, horizon: int) -> None:
    shine = shade(ground, 1.25)
    x = int(rng.integers(0, SIZE))
    pen.polygon([(x, horizon), (x + 60, horizon), (x + 110, SIZE), (x - 30, SIZE)], fill=shine)


def _asphalt(pen: ImageDraw.ImageDraw, rng: np.random.Generator, ground: Colour, horizon: int) -> None:
    x, tilt = int(rng.integers(-100, SIZE)), int(rng.integers(-200, 200))
    pen.line((x, horizon, x + tilt, SIZE), fill=shade(ground, 1.5), width=int(rng.integers(3, 14)))
    if rng.random() < 0.5:
        for i in range(-2, 9):
            pen.polygon(
                [(i * 60, SIZE), (i * 60 + 30, SIZE), (i * 50 + 40, SIZE - 70), (i * 50 + 15, SIZE - 70)],
                fill=shade(ground, 1.6),
            )


def _grass(pen: ImageDraw.ImageDraw, rng: np.random.Generator, ground: Colour, horizon: int) -> None:
    edge = int(rng.integers(horizon, SIZE + 60))
    pen.rectangle(
        (0, horizon, SIZE, edge),
        fill=(int(rng.integers(60, 110)), int(rng.integers(80, 125)), int(rng.integers(45, 80))),
    )


def _bricks(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    line, tall = shade(wall, 0.8), int(rng.integers(8, 22))
    for row, y in enumerate(range(horizon, -tall, -tall)):
        pen.line((0, y, SIZE, y), fill=line)
        for x in range((row % 2) * tall, SIZE, tall * 2):
            pen.line((x, y, x, y - tall), fill=line)
    _posters(pen, rng, accent, horizon)


def _windows(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    wide, x = int(rng.integers(40, 110)), int(rng.integers(-60, 0))
    while x < SIZE:
        glass = shade((90, 110, 125), rng.uniform(0.4, 1.7))
        pen.rectangle(
            (x, -5, x + wide, max(0, horizon - int(rng.integers(4, 60)))),
            fill=glass,
            outline=shade(wall, 0.6),
            width=4,
        )
        x += wide + int(rng.integers(8, 50))
    _posters(pen, rng, accent, horizon)


def _panels(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    x = int(rng.integers(-60, 0))
    while x < SIZE:
        wide = int(rng.integers(30, 120))
        pen.rectangle((x, 0, x + wide, horizon), fill=shade(wall, rng.uniform(0.85, 1.12)))
        x += wide
    pen.rectangle((0, horizon - 8, SIZE, horizon), fill=shade(accent, 0.7))
    _posters(pen, rng, accent, horizon)


def _hedge(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    for _ in range(160):
        x, y, r = rng.uniform(0, SIZE), rng.uniform(-20, horizon), rng.uniform(8, 26)
        g = int(rng.integers(45, 120))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(int(g * 0.7), g, int(g * 0.5)))


def _fence(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    step = int(rng.integers(12, 34))
    for x in range(int(rng.integers(-step, 0)), SIZE, step):
        pen.rectangle((x, horizon - 150, x + step // 3, horizon), fill=shade(accent, 0.7))
    for y in (horizon - 140, horizon - 20):
        pen.rectangle((0, y, SIZE, y + 6), fill=shade(accent, 0.6))


def _posters(pen: ImageDraw.ImageDraw, rng: np.random.Generator, accent: Colour, horizon: int) -> None:
    for _ in range(int(rng.integers(0, 3))):
        x, y = int(rng.integers(0, SIZE)), int(rng.integers(-40, max(1, horizon - 60)))
        w, h = int(rng.integers(25, 80)), int(rng.integers(25, 90))
        pen.rectangle((x, y, x + w, y + h), fill=_tone(rng, 0.8))
        pen.rectangle((x + 6, y + h // 3, x + w - 6, y + h // 2), fill=shade(accent, 1.2))


def _car(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x, y, w = int(rng.integers(-80, SIZE)), horizon + int(rng.integers(0, 60)), int(rng.integers(120, 220))
    paint, h = _tone(rng, 0.7), w // 3
    pen.rounded_rectangle((x, y - h // 2, x + w, y + h // 4), h // 6, fill=paint)
    pen.polygon(
        [
            (x + w // 5, y - h // 2),
            (x + w // 3, y - h),
            (x + 2 * w // 3, y - h),
            (x + 5 * w // 6, y - h // 2),
        ],
        fill=shade(paint, 0.5),
    )
    for wheel in (x + w // 5, x + 4 * w // 5):
        pen.ellipse((wheel - h // 5, y, wheel + h // 5, y + 2 * h // 5), fill=(25, 25, 25))


def _bin(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x, y, w = int(rng.integers(0, SIZE)), horizon + int(rng.integers(-10, 90)), int(rng.integers(20, 45))
    pen.rounded_rectangle((x, y - w * 1.6, x + w, y), 5, fill=_tone(rng, 0.6))


def _stand(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x, w = int(rng.integers(0, SIZE)), int(rng.integers(4, 22))
    pen.rectangle((x, 0, x + w, horizon + int(rng.integers(0, 120))), fill=_tone(rng, 0.2))


def _door(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x, w = int(rng.integers(0, SIZE)), int(rng.integers(50, 90))
    pen.rectangle((x, horizon - 150, x + w, horizon), fill=_tone(rng, 0.4), outline=(60, 60, 60), width=3)


def _bush(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x0, y0 = rng.uniform(0, SIZE), horizon + rng.uniform(-10, 60)
    for _ in range(30):
        x, y, r = x0 + rng.normal(0, 28), y0 - abs(rng.normal(0, 25)), rng.uniform(5, 14)
        g = int(rng.integers(45, 115))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(int(g * 0.75), g, int(g * 0.5)))


def _walker(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Somebody far away: a head, a body, two legs."""
    tall, x = rng.uniform(45, 120), rng.uniform(0, SIZE)
    foot = horizon + tall * rng.uniform(0.3, 0.9)
    top, wide = foot - tall, tall * 0.13
    upper, lower = _tone(rng, 0.6), shade(_tone(rng, 0.4), 0.5)
    for leg in (-0.5, 0.5):
        pen.rectangle(
            (x + wide * (leg - 0.35), foot - tall * 0.48, x + wide * (leg + 0.35), foot), fill=lower
        )
    pen.rounded_rectangle(
        (x - wide, top + tall * 0.14, x + wide, foot - tall * 0.45), int(wide / 2), fill=upper
    )
    pen.ellipse((x - wide * 0.5, top, x + wide * 0.5, top + tall * 0.14), fill=(150, 115, 95))
