"""Drawn pedestrians: fast, seeded people without a licence, for the demo, the tests and `--smoke`.

Identity, camera and sample are independent: an identity has a body, clothes and things it carries; a camera
has a background, a light, a colour cast, a viewpoint and a sharpness; a sample has a pose, a place in the box
and noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from training.data.records import Dataset
from training.synthetic.paint import Colour, hsv, jpeg, shade

HEIGHT, WIDTH = 128, 64
_SCALE = 3  # drawn this much larger, then reduced: cheap antialiasing


@dataclasses.dataclass(frozen=True)
class Identity:
    """What stays the same about a person."""

    skin: Colour
    hair: Colour
    top: Colour
    top_second: Colour
    bottom: Colour
    shoes: Colour
    bag_colour: Colour
    pattern: str  # plain | stripes | panel | chest
    sleeves: str  # long | short
    legs: str  # trousers | shorts | skirt
    hair_style: str  # short | long | cap
    bag: str  # none | backpack | shoulder
    height: float  # share of the box
    girth: float


@dataclasses.dataclass(frozen=True)
class Camera:
    """What stays the same about a camera."""

    ground: Colour
    wall: Colour
    kind: str  # wall | fence | street | glass
    gain: tuple[float, float, float]
    brightness: float
    contrast: float
    blur: float
    from_behind: float  # how often people are seen from behind
    scale: float
    seed: int


def make_identity(seed: int) -> Identity:
    """The identity of a seed.

    Colours follow a rough prior of street clothes: many dark, some strong.
    """
    rng = np.random.default_rng((1, seed))

    def cloth() -> Colour:
        if rng.random() < 0.4:
            return hsv(rng.random(), rng.uniform(0, 0.15), rng.choice([0.12, 0.25, 0.5, 0.75, 0.95]))
        return hsv(rng.random(), rng.uniform(0.4, 0.9), rng.uniform(0.25, 0.9))

    tone = rng.random()
    return Identity(
        skin=hsv(0.06, 0.35 + 0.25 * tone, 0.95 - 0.6 * tone),
        hair=hsv(0.07, rng.uniform(0.1, 0.6), rng.choice([0.08, 0.15, 0.3, 0.6, 0.75])),
        top=cloth(),
        top_second=cloth(),
        bottom=cloth(),
        shoes=cloth(),
        bag_colour=cloth(),
        pattern=str(rng.choice(["plain", "plain", "stripes", "panel", "chest"])),
        sleeves=str(rng.choice(["long", "short"])),
        legs=str(rng.choice(["trousers", "trousers", "shorts", "skirt"])),
        hair_style=str(rng.choice(["short", "short", "long", "cap"])),
        bag=str(rng.choice(["none", "none", "backpack", "shoulder"])),
        height=rng.uniform(0.8, 0.93),
        girth=rng.uniform(0.85, 1.2),
    )


def make_camera(site: int, camera: int) -> Camera:
    """Camera `camera` of site `site`; sites differ in light and place, cameras of a site a little less so."""
    rng = np.random.default_rng((2, site, camera))
    place = np.random.default_rng((3, site))
    warmth = place.uniform(-0.12, 0.12) + rng.uniform(-0.08, 0.08)
    return Camera(
        ground=hsv(rng.random(), rng.uniform(0, 0.25), rng.uniform(0.35, 0.7)),
        wall=hsv(rng.random(), rng.uniform(0, 0.35), rng.uniform(0.3, 0.85)),
        kind=str(rng.choice(["wall", "fence", "street", "glass"])),
        gain=(1 + warmth, 1.0 + rng.uniform(-0.04, 0.04), 1 - warmth),
        brightness=float(place.uniform(0.8, 1.15) * rng.uniform(0.85, 1.12)),
        contrast=float(rng.uniform(0.75, 1.15)),
        blur=float(rng.uniform(0.2, 0.9)),
        from_behind=float(rng.choice([0.1, 0.5, 0.9])),
        scale=float(rng.uniform(0.93, 1.03)),
        seed=site * 1000 + camera,
    )


def draw(identity: Identity, camera: Camera, sample: int) -> np.ndarray:
    """uint8 [128,64,3]: the identity seen by the camera; `sample` seeds pose, place and noise."""
    rng = np.random.default_rng((4, camera.seed, sample, hash_identity(identity)))
    image = _background(camera, rng)
    _person(ImageDraw.Draw(image), identity, camera, rng)
    if rng.random() < 0.15:
        _occluder(ImageDraw.Draw(image), rng)
    image = image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).filter(
        ImageFilter.GaussianBlur(camera.blur)
    )
    image = ImageEnhance.Brightness(image).enhance(camera.brightness * rng.uniform(0.93, 1.07))
    image = ImageEnhance.Contrast(image).enhance(camera.contrast)
    pixels = np.asarray(image, np.float32) * np.array(camera.gain, np.float32)
    pixels += rng.normal(0, 4, (HEIGHT, WIDTH, 1)) + rng.normal(0, 2, (HEIGHT, WIDTH, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def draw_dataset(
    root: Path, identities: int, seed: int = 0, sites: int = 4, cameras: int = 4, images: int = 2
) -> Dataset:
    """Draws a folder dataset under `root` and returns it as read.

    Args:
        identities: people to train on, spread over `sites` sites of `cameras` cameras; a fifth as many more,
            at a site that training never sees, make query (one crop from each camera) and gallery.
        images: crops of each identity at each camera.
    """
    from training.data.folders import read_folders

    for number in range(identities):
        _draw_person(root, "train", seed, number, number % sites, cameras, images)
    for number in range(identities, identities + max(4, identities // 5)):
        _draw_person(root, "test", seed, number, sites, cameras, images)
    return read_folders(root)


def draw_sites(
    root: Path, sites: int, identities: int, seed: int = 0, cameras: int = 4, images: int = 2
) -> list[Dataset]:
    """Draws a folder dataset `root/site-N` for each site, with its own people to train and evaluate on."""
    from training.data.folders import read_folders

    datasets, tested = [], max(4, identities // 5)
    for site in range(sites):
        first = site * (identities + tested)
        for number in range(first, first + identities + tested):
            part = "train" if number < first + identities else "test"
            _draw_person(root / f"site-{site}", part, seed, number, site, cameras, images)
        datasets.append(read_folders(root / f"site-{site}"))
    return datasets


def _draw_person(root: Path, part: str, seed: int, number: int, site: int, cameras: int, images: int) -> None:
    """Crops of one person at every camera of a site; a `test` person's first crop at each is a query."""
    who = make_identity(seed * 1_000_000 + number)
    for camera in range(cameras):
        view = make_camera(site, camera)
        for n in range(images):
            folder = part
            if part == "test":
                folder = "query" if n == 0 else "gallery"
            target = root / folder / f"{number:05d}"
            target.mkdir(parents=True, exist_ok=True)
            (target / f"s{site}c{camera}_{n}.jpg").write_bytes(jpeg(draw(who, view, n)))


def hash_identity(identity: Identity) -> int:
    """A number that depends on the identity's looks alone; Python's hash of text differs between runs."""
    return int.from_bytes(repr(dataclasses.astuple(identity)).encode(), "little") % (2**63)


def _background(camera: Camera, rng: np.random.Generator) -> Image.Image:
    width, height = WIDTH * _SCALE, HEIGHT * _SCALE
    image = Image.new("RGB", (width, height), camera.wall)
    pen = ImageDraw.Draw(image)
    plan = np.random.default_rng((5, camera.seed))
    horizon = int(height * plan.uniform(0.45, 0.75)) + int(rng.integers(-12, 13))
    pen.rectangle((0, horizon, width, height), fill=camera.ground)
    shift = int(rng.integers(0, 60))
    if camera.kind == "fence":
        for x in range(-shift, width, 22):
            pen.rectangle((x, horizon - 120, x + 5, horizon), fill=shade(camera.wall, 0.6))
    elif camera.kind == "street":
        for y in range(horizon + shift % 40, height, 40):
            pen.rectangle((0, y, width, y + 6), fill=shade(camera.ground, 1.25))
    elif camera.kind == "glass":
        for x in range(-shift, width, 70):
            pen.rectangle((x, 20, x + 50, horizon - 20), fill=shade(camera.wall, 1.3))
    else:
        for y in range(shift % 24, horizon, 24):
            pen.line((0, y, width, y), fill=shade(camera.wall, 0.85), width=2)
    return image


def _person(pen: ImageDraw.ImageDraw, who: Identity, camera: Camera, rng: np.random.Generator) -> None:
    """Draws from the shoes up. Lengths are shares of the body height, which is 7.5 heads."""
    body = who.height * camera.scale * HEIGHT * _SCALE * rng.uniform(0.96, 1.03)
    centre = WIDTH * _SCALE * (0.5 + rng.uniform(-0.06, 0.06))
    foot = HEIGHT * _SCALE * (0.97 + rng.uniform(-0.02, 0.02))
    behind = rng.random() < camera.from_behind
    stride = rng.uniform(-0.09, 0.09) * body
    swing = -stride * rng.uniform(0.5, 1.0)
    top, hip, knee = foot - body, foot - 0.47 * body, foot - 0.25 * body
    neck = top + 0.15 * body
    half = 0.105 * body * who.girth
    light = rng.uniform(0.9, 1.1)

    def limb(points: list[tuple[float, float]], colour: Colour, thick: float) -> None:
        width = max(2, int(thick * body * who.girth))
        pen.line(points, fill=shade(colour, light), width=width, joint="curve")
        for x, y in points:
            pen.ellipse(
                (x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=shade(colour, light)
            )

    pen.ellipse(
        (centre - half * 1.6, foot - 6, centre + half * 1.6, foot + 8), fill=shade(camera.ground, 0.65)
    )
    for side, move in ((-1, stride), (1, -stride)):
        start, end = (
            (centre + side * half * 0.45, hip),
            (centre + side * half * 0.45 + move, foot - 0.03 * body),
        )
        mid = ((start[0] + end[0]) / 2 + abs(move) * 0.2, knee)
        limb([start, mid, end], who.bottom if who.legs == "trousers" else who.skin, 0.075)
        if who.legs == "shorts":
            limb([start, mid], who.bottom, 0.085)
        limb([end, (end[0] + 0.035 * body * (-1 if behind else 1), end[1] + 0.01 * body)], who.shoes, 0.045)
    if who.legs == "skirt":
        pen.polygon(
            [
                (centre - half * 0.8, hip - 0.05 * body),
                (centre + half * 0.8, hip - 0.05 * body),
                (centre + half * 1.35, knee),
                (centre - half * 1.35, knee),
            ],
            fill=shade(who.bottom, light),
        )
    if who.bag == "backpack" and not behind:
        pen.rounded_rectangle(
            (centre - half * 1.2, neck + 0.04 * body, centre + half * 1.2, hip - 0.1 * body),
            12,
            who.bag_colour,
        )
    _arms(limb, who, centre, half, neck, hip, swing)
    _torso(pen, who, centre, half, neck, hip, light, behind)
    if who.bag == "backpack" and behind:
        pen.rounded_rectangle(
            (centre - half * 0.75, neck + 0.03 * body, centre + half * 0.75, hip - 0.07 * body),
            14,
            who.bag_colour,
        )
    if who.bag == "shoulder":
        side = -1 if behind else 1
        pen.line(
            (centre - side * half * 0.8, neck + 4, centre + side * half * 1.1, hip),
            fill=who.bag_colour,
            width=6,
        )
        x = centre + side * half * 1.2
        pen.rounded_rectangle(
            (x - half * 0.5, hip - 0.05 * body, x + half * 0.5, hip + 0.09 * body), 6, who.bag_colour
        )
    _head(pen, who, centre, top, body, behind, light)


def _arms(
    limb: Callable[..., None],
    who: Identity,
    centre: float,
    half: float,
    neck: float,
    hip: float,
    swing: float,
) -> None:
    for side, move in ((-1, swing), (1, -swing)):
        shoulder = (centre + side * half * 1.02, neck + half * 0.35)
        hand = (centre + side * half * 1.35 + move * 0.6, hip + half * 0.3)
        elbow = ((shoulder[0] + hand[0]) / 2 + side * half * 0.15, (shoulder[1] + hand[1]) / 2)
        limb([shoulder, elbow, hand], who.top if who.sleeves == "long" else who.skin, 0.05)
        limb([shoulder, elbow], who.top, 0.056)
        limb([hand, hand], who.skin, 0.045)


def _torso(
    pen: ImageDraw.ImageDraw,
    who: Identity,
    centre: float,
    half: float,
    neck: float,
    hip: float,
    light: float,
    behind: bool,
) -> None:
    left, right = centre - half, centre + half
    pen.rounded_rectangle((left, neck, right, hip + half * 0.3), int(half * 0.45), shade(who.top, light))
    second = shade(who.top_second, light)
    if who.pattern == "stripes":
        step = (hip - neck) / 7
        for i in range(1, 7, 2):
            pen.rectangle((left + 2, neck + i * step, right - 2, neck + (i + 1) * step), fill=second)
    elif who.pattern == "panel":
        pen.rectangle((left + 1, (neck + hip) / 2, right - 1, hip), fill=second)
    elif who.pattern == "chest" and not behind:
        pen.rectangle(
            (centre - half * 0.45, neck + half * 0.6, centre + half * 0.45, neck + half * 1.3), fill=second
        )


def _head(
    pen: ImageDraw.ImageDraw,
    who: Identity,
    centre: float,
    top: float,
    body: float,
    behind: bool,
    light: float,
) -> None:
    r, middle = 0.062 * body, top + 0.075 * body
    hair = shade(who.hair, light)
    pen.rectangle(
        (centre - r * 0.4, middle, centre + r * 0.4, top + 0.17 * body), fill=shade(who.skin, 0.9 * light)
    )
    if who.hair_style == "long":
        pen.rounded_rectangle(
            (centre - r * 1.15, middle - r, centre + r * 1.15, top + 0.2 * body), int(r), hair
        )
    pen.ellipse(
        (centre - r, middle - r * 1.2, centre + r, middle + r * 1.2),
        fill=hair if behind else shade(who.skin, light),
    )
    if not behind:
        pen.chord(
            (centre - r * 1.05, middle - r * 1.3, centre + r * 1.05, middle + r * 0.9), 180, 360, fill=hair
        )
        for side in (-1, 1):
            x = centre + side * r * 0.4
            pen.ellipse((x - 2, middle + 1, x + 2, middle + 5), fill=(40, 30, 30))
    if who.hair_style == "cap":
        cap = shade(who.top_second, light)
        pen.chord(
            (centre - r * 1.1, middle - r * 1.35, centre + r * 1.1, middle + r * 0.9), 180, 360, fill=cap
        )
        if not behind:
            pen.rectangle(
                (centre - r * 1.1, middle - r * 0.35, centre + r * 1.1, middle - r * 0.1),
                fill=shade(cap, 0.7),
            )


def _occluder(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    width, height = WIDTH * _SCALE, HEIGHT * _SCALE
    colour = hsv(rng.random(), rng.uniform(0, 0.5), rng.uniform(0.2, 0.7))
    if rng.random() < 0.5:
        pen.rectangle((0, height * rng.uniform(0.7, 0.85), width, height), fill=colour)
    else:
        x = int(rng.choice([0, width - 30]))
        pen.rectangle((x, height * rng.uniform(0, 0.3), x + 30, height), fill=colour)
