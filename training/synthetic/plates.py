"""Background plates: what a camera sees behind people, several of one place for each camera."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.synthetic.paint import Colour, hsv, shade

SIZE = 320
_PALE = 0.55  # how much of a drawn colour stays: places are greyer than people


def make_plates(seed: int, count: int, pitch: float, indoor: bool) -> np.ndarray:
    """uint8 [count,SIZE,SIZE,3]: one place from slightly different angles, with different objects in it.

    Args:
        seed: of the camera.
        pitch: degrees that the camera looks down; a steep one sees more floor.
    """
    place = np.random.default_rng((9, seed))
    ground, wall, accent = _tone(place, 0.32, 0.72), _tone(place, 0.1, 0.75), _paint(place)
    floor = Floor.draw(place, indoor)
    backs: list[Callable] = [_bricks, _windows, _panels, _doorway, _doorway]
    backs += [_shelves] if indoor else [_hedge, _hedge, _fence, _steps, _bicycles, _bicycles]
    back = backs[int(place.integers(len(backs)))]
    horizon = int(SIZE * np.clip(0.52 - pitch / 90 + place.uniform(-0.08, 0.12), 0.03, 0.7))
    rough = place.uniform(0.5, 1.6)
    plates = [
        _plate(np.random.default_rng((9, seed, n)), ground, wall, accent, floor, back, horizon, indoor, rough)
        for n in range(count)
    ]
    return np.stack(plates)


def _plate(
    rng: np.random.Generator,
    ground: Colour,
    wall: Colour,
    accent: Colour,
    floor: Floor,
    back: Callable,
    horizon: int,
    indoor: bool,
    rough: float,
) -> np.ndarray:
    horizon = int(np.clip(horizon + rng.integers(-25, 26), 0, SIZE))
    image = Image.new("RGB", (SIZE, SIZE), wall)
    back(ImageDraw.Draw(image), rng, wall, accent, horizon)
    pixels = np.array(image, np.float32)
    pixels[horizon:] = np.array(ground, np.float32) * floor.seen(rng, horizon)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    things = (
        [_bin, _stand, _door, _shelf] if indoor else [_car, _bin, _bush, _stand, _bicycle, _bicycle, _rails]
    )
    for _ in range(int(rng.integers(1, 7))):
        things[int(rng.integers(len(things)))](pen, rng, horizon)
    for _ in range(int(rng.integers(0, 3))):
        _walker(pen, rng, horizon)
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2))))
    seen = np.asarray(image, np.float32)
    slope: np.ndarray = np.linspace(rng.uniform(0.75, 1.15), rng.uniform(0.75, 1.15), SIZE)
    grain = 0.22 * _clouds(rng, 5) + rough * (0.12 * _clouds(rng, 40) + 0.2 * _clouds(rng, 120))
    grain = grain + 0.16 * rough * _clouds(rng, 240)
    grey = seen.mean(axis=2, keepdims=True)
    seen = grey + _PALE * (seen - grey)
    return np.clip(seen * (slope[:, None, None] + grain[..., None]), 0, 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Floor:
    """What a place is paved with, in units of a tile."""

    kind: str  # tiles | bond | asphalt | grass | plain
    turn: float  # radians
    fine: float  # tiles across the picture's lower edge
    joint: float  # width of a joint
    depth: float  # how dark joints are, negative for light ones
    mixed: float  # how far tiles differ

    @staticmethod
    def draw(rng: np.random.Generator, indoor: bool) -> Floor:
        """A floor for a place."""
        kinds = ["tiles", "tiles", "plain"] if indoor else ["tiles", "bond", "bond", "asphalt", "grass"]
        depth = rng.choice([rng.uniform(0.2, 0.65), rng.uniform(-0.4, -0.15)], p=[0.8, 0.2])
        return Floor(
            str(rng.choice(kinds)),
            float(rng.choice([0.0, rng.uniform(-0.7, 0.7)])),
            float(np.exp(rng.uniform(np.log(4), np.log(16)))),
            float(rng.uniform(0.05, 0.14)),
            float(depth),
            float(rng.uniform(0, 0.35)),
        )

    def seen(self, rng: np.random.Generator, horizon: int) -> np.ndarray:
        """float32 [rows below the horizon,SIZE,3]: factors on the ground's colour, in perspective."""
        rows = (np.arange(horizon, SIZE, dtype=np.float32) - horizon + 14)[:, None] / (SIZE - horizon + 14)
        across = (np.arange(SIZE, dtype=np.float32)[None] / SIZE - 0.5) / rows * self.fine
        away = (1.6 / rows) * self.fine + np.zeros_like(across)
        shift = rng.uniform(0, 9)
        c, s = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        u, v = c * across - s * away + shift, s * across + c * away + shift
        if self.kind == "bond":
            v = v * 2
            u = u + 0.5 * (np.floor(v) % 2)
        shade_: np.ndarray = np.ones_like(u)
        if self.kind in ("tiles", "bond"):
            near = np.minimum(1, rows * 2.2)  # far joints blur into one tone
            line = np.maximum(u % 1 < self.joint, v % 1 < self.joint)
            tone = np.sin(np.floor(u) * 12.9898 + np.floor(v) * 78.233) * 43758.5453 % 1 - 0.5
            shade_ = 1 - near * self.depth * line + self.mixed * near * tone
        elif self.kind == "asphalt" and rng.random() < 0.7:
            at = u % (3 * self.fine) / self.fine
            shade_ = 1 + 0.6 * (np.abs(at - 1) < rng.uniform(0.02, 0.12))
        factors = np.repeat(shade_[..., None], 3, axis=2)
        if self.kind == "grass":
            edge = rows[:, 0] < rng.uniform(0.2, 1.3)
            leaves = 1 + 0.9 * _clouds(rng, 150)[horizon:, :, None]
            factors[edge] = (factors * leaves * np.array([0.68, 0.80, 0.52], np.float32))[edge]
        return factors.astype(np.float32)


def _clouds(rng: np.random.Generator, cells: int) -> np.ndarray:
    """float32 [SIZE,SIZE] about -1..1: smooth noise of `cells` bumps a side."""
    coarse = Image.fromarray(rng.normal(0, 0.5, (cells + 1, cells + 1)).astype(np.float32), mode="F")
    return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _tone(rng: np.random.Generator, least: float, most: float) -> Colour:
    """What places are built of: grey, beige, a little brick or green; much of it dark."""
    hue = rng.choice(
        [rng.uniform(0.02, 0.13), rng.uniform(0.5, 0.65), rng.uniform(0.2, 0.4)], p=[0.6, 0.3, 0.1]
    )
    return hsv(hue, rng.uniform(0, 1) ** 2 * 0.25, rng.uniform(least, most))


def _paint(rng: np.random.Generator) -> Colour:
    """What is painted: cars, signs, doors; every hue, a third of them vivid."""
    return hsv(rng.random(), rng.choice([0.15, 0.3, 0.8]) * rng.uniform(0.3, 1), rng.uniform(0.15, 0.85))


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


def _doorway(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    """A dark entrance behind glass and frames, with lights deep inside."""
    dark, frame = shade(wall, rng.uniform(0.1, 0.4)), shade(wall, rng.uniform(0.8, 1.4))
    pen.rectangle((0, 0, SIZE, horizon), fill=dark)
    for _ in range(int(rng.integers(3, 12))):
        x, y, w, h = (
            rng.uniform(0, SIZE),
            rng.uniform(0, max(1, horizon)),
            rng.uniform(3, 40),
            rng.uniform(3, 50),
        )
        pen.rectangle((x, y - h, x + w, y), fill=shade(wall, rng.uniform(0.1, 0.9)))
    x = int(rng.integers(-40, 40))
    while x < SIZE:
        pen.rectangle((x, 0, x + int(rng.integers(2, 14)), horizon), fill=frame)
        x += int(rng.integers(25, 120))
    pen.rectangle(
        (0, horizon - int(rng.integers(3, 20)), SIZE, horizon), fill=shade(wall, rng.uniform(0.3, 1))
    )


def _shelves(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    high = int(rng.integers(16, 40))
    for y in range(horizon, -high, -high):
        x = 0
        while x < SIZE:
            w, h = int(rng.integers(4, 24)), int(rng.integers(high // 3, high))
            pen.rectangle((x, y - h, x + w, y), fill=_paint(rng))
            x += w + 1
        pen.rectangle((0, y - 3, SIZE, y), fill=shade(wall, 0.5))


def _steps(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    high = int(rng.integers(7, 18))
    for i, y in enumerate(range(horizon, int(rng.integers(-20, horizon + 1)) - high, -high)):
        pen.rectangle((0, y - high, SIZE, y), fill=shade(wall, 0.95 - 0.02 * i))
        pen.rectangle((0, y - high // 3, SIZE, y), fill=shade(wall, 0.5))


def _bicycles(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    """A row of parked bicycles before a hedge or a wall."""
    if rng.random() < 0.6:
        _hedge(pen, rng, wall, accent, horizon)
    for _ in range(int(rng.integers(6, 16))):
        _bicycle(pen, rng, horizon - int(rng.integers(0, 25)))


def _bicycle(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Two wheels, a frame, a saddle and handlebars, seen more or less from the side."""
    x, y, r = rng.uniform(-30, SIZE), horizon + rng.uniform(-5, 35), rng.uniform(16, 34)
    thin = rng.uniform(0.35, 1)
    gap, frame, dark = 2.3 * r * thin, _paint(rng), shade((60, 60, 62), rng.uniform(0.3, 1.3))
    for wheel in (x, x + gap):
        box = (wheel - r * thin, y - 2 * r, wheel + r * thin, y)
        pen.ellipse(box, outline=dark, width=2 + int(r > 26))
        for spoke in (-0.6, 0.0, 0.6):
            pen.line(
                (wheel + spoke * r * thin, y - 1.8 * r, wheel - spoke * r * thin, y - 0.2 * r), fill=dark
            )
    seat, bar, crank = (
        (x + 0.3 * gap, y - 2.7 * r),
        (x + 0.85 * gap, y - 3.0 * r),
        (x + 0.45 * gap, y - 0.9 * r),
    )
    pen.line([(x, y - r), crank, bar, seat, crank], fill=frame, width=2 + int(r > 26))
    pen.line([(x, y - r), seat], fill=frame, width=2)
    pen.line([bar, (x + gap, y - r)], fill=frame, width=2)
    pen.line((seat[0] - 6, seat[1] - 3, seat[0] + 6, seat[1] - 3), fill=(20, 20, 20), width=4)
    pen.line((bar[0] - 7, bar[1] - 2, bar[0] + 4, bar[1] - 4), fill=(30, 30, 30), width=2)
    if rng.random() < 0.3:
        pen.rectangle(
            (bar[0], bar[1] + 2, bar[0] + 0.8 * r, bar[1] + 0.9 * r), outline=shade(frame, 1.3), width=2
        )


def _rails(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x, y, w = rng.uniform(-60, SIZE), horizon + rng.uniform(0, 50), rng.uniform(60, 200)
    steel, h = shade((170, 175, 180), rng.uniform(0.5, 1.3)), rng.uniform(30, 70)
    for level in (0.0, 0.5, 1.0):
        pen.line((x, y - h * level, x + w, y - h * level), fill=steel, width=3)
    for post in np.arange(x, x + w + 1, w / 3):
        pen.line((post, y - h, post, y + 6), fill=steel, width=4)


def _hedge(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, wall: Colour, accent: Colour, horizon: int
) -> None:
    """Leaves, small ones over large ones, light ones over dark ones; sky or trunks between some."""
    low = rng.uniform(0.6, 1.3)
    pen.rectangle((0, 0, SIZE, horizon), fill=shade((34, 44, 28), low))
    for size, count in ((16, 70), (7, 220), (3, 420)):
        for _ in range(count):
            x, y, r = rng.uniform(0, SIZE), rng.uniform(-10, horizon), size * rng.uniform(0.5, 1.3)
            g = rng.uniform(40, 130) * (0.4 + 0.6 * low)
            red = rng.uniform(0.7, 0.95)
            pen.ellipse((x - r, y - 0.7 * r, x + r, y + 0.7 * r), fill=(int(g * red), int(g), int(g * 0.65)))
    for _ in range(int(rng.integers(0, 3))):
        x, w = rng.uniform(0, SIZE), rng.uniform(4, 20)
        pen.rectangle((x, 0, x + w, horizon), fill=shade((92, 80, 68), rng.uniform(0.4, 1.1)))


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
        pen.rectangle((x, y, x + w, y + h), fill=_paint(rng))
        pen.rectangle((x + 6, y + h // 3, x + w - 6, y + h // 2), fill=shade(accent, 1.2))


def _car(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x, y, w = int(rng.integers(-80, SIZE)), horizon + int(rng.integers(0, 60)), int(rng.integers(120, 220))
    paint, h = _paint(rng), w // 3
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
    pen.rounded_rectangle((x, y - w * 1.6, x + w, y), 5, fill=_paint(rng))


def _stand(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x, w = int(rng.integers(0, SIZE)), int(rng.integers(4, 22))
    pen.rectangle((x, 0, x + w, horizon + int(rng.integers(0, 120))), fill=_tone(rng, 0.15, 0.8))


def _door(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x, w = int(rng.integers(0, SIZE)), int(rng.integers(50, 90))
    pen.rectangle(
        (x, horizon - 150, x + w, horizon), fill=_tone(rng, 0.08, 0.6), outline=(60, 60, 60), width=3
    )


def _shelf(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """A stand with goods or leaflets."""
    x, w, h = rng.uniform(-20, SIZE), rng.uniform(30, 80), rng.uniform(60, 160)
    y = horizon + rng.uniform(0, 70)
    pen.rectangle((x, y - h, x + w, y), fill=_tone(rng, 0.1, 0.8))
    for _ in range(24):
        a, b = x + rng.uniform(0, w - 8), y - rng.uniform(6, h)
        pen.rectangle((a, b, a + rng.uniform(3, 9), b + rng.uniform(3, 8)), fill=_paint(rng))


def _bush(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    x0, y0 = rng.uniform(0, SIZE), horizon + rng.uniform(-10, 60)
    for _ in range(70):
        x, y, r = x0 + rng.normal(0, 28), y0 - abs(rng.normal(0, 25)), rng.uniform(2, 9)
        g = int(rng.integers(30, 115))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(int(g * 0.8), g, int(g * 0.6)))


def _walker(pen: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Somebody far away: a head, a body, two legs."""
    tall, x = rng.uniform(45, 120), rng.uniform(0, SIZE)
    foot = horizon + tall * rng.uniform(0.3, 0.9)
    top, wide = foot - tall, tall * 0.13
    upper, lower = _paint(rng), _tone(rng, 0.08, 0.5)
    for leg in (-0.5, 0.5):
        pen.rectangle(
            (x + wide * (leg - 0.35), foot - tall * 0.48, x + wide * (leg + 0.35), foot), fill=lower
        )
    pen.rounded_rectangle(
        (x - wide, top + tall * 0.14, x + wide, foot - tall * 0.45), int(wide / 2), fill=upper
    )
    pen.ellipse((x - wide * 0.5, top, x + wide * 0.5, top + tall * 0.14), fill=(150, 115, 95))
