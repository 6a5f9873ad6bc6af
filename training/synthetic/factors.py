"""The factors of a crop, drawn from seeds and independent: person, site, camera and moment.

Nothing here renders. Factors are frozen dataclasses of plain values, so that a world can be written down as
JSON before it is rendered, and a crop can be rendered again from its factors alone.
"""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Colour = tuple[float, float, float]  # sRGB, 0 to 1
KINDS = ("plain", "null", "between", "cast", "monochrome", "uniform", "feet", "coats", "hard")
PATTERNS = (
    "solid",
    "horizontal",
    "vertical",
    "checks",
    "dots",
    "block",
    "logo",
    "gradient",
    "camouflage",
    "band",
    "raglan",
    "side",
    "text",
    "floral",
    "plaid",
    "denim",
)
PLATES = 8  # backgrounds of a camera
PASSERS = 12  # people of a site who only ever walk by behind others
_REACH = 1.2  # how far severity 5 goes, against the ranges that factors are drawn from
# the first number of every seed, so that no two draws share a stream
_PEOPLE, _GROUPS, _SITE, _CAMERA, _SAMPLE, _COATS = range(6)
_CHANGE_COATS = 0.06  # of a site's people
_FIXED_CLOTHES = ("uniform", "coats")  # kinds of site that say what people wear


class Cloth(NamedTuple):
    """A texture: a pattern in two or three colours, at a scale (1 is usual), shifted by `phase`."""

    pattern: str
    colours: tuple[Colour, Colour, Colour]
    scale: float
    phase: float


@dataclasses.dataclass(frozen=True)
class Person:
    """What stays the same about a person as long as they do not change."""

    number: int
    group: str  # "" or the name of the look-alike or uniform group
    gender: float  # 0 male to 1 female, as the body model has it
    age: float  # 0.55 young to 0.95 old, as the body model has it
    muscle: float
    weight: float
    height: float
    proportions: float
    skin: Colour
    hair: Colour
    hair_style: str  # bald | short | medium | long | tail | afro
    upper: str  # tee | shirt | jacket | coat | dress
    upper_cloth: Cloth
    sleeve: float  # share of the arm that it covers
    hem: float  # how far it reaches below the hip, as a share of the leg
    loose: float  # how far clothes stand off the body
    inner: Cloth  # what shows in an open jacket or coat
    is_open: bool
    lower: str  # trousers | shorts | skirt
    lower_cloth: Cloth
    leg: float  # share of the leg that it covers
    shoes: Cloth
    sole: Colour
    sandals: bool
    sock: float  # metres above the ankle, 0 for none
    glasses: bool
    beard: bool
    bag: str  # none | backpack | shoulder | handbag
    bag_cloth: Cloth
    bag_side: int  # -1 right, 1 left
    hat: str  # none | cap | beanie | brim | hood
    hat_cloth: Cloth
    scarf: str  # none | scarf
    scarf_cloth: Cloth


@dataclasses.dataclass(frozen=True)
class Site:
    """What all cameras of a place share. `severity` 0 leaves every factor neutral."""

    number: int
    kind: str
    severity: float
    gain: Colour  # the light's colour, as a factor on each channel
    exposure: float
    gamma: float
    saturation: float
    contrast: float
    haze: float  # 0 clear to 0.5
    pixels: float  # the height of a person on the sensor
    squeeze: float  # pixels of a row against those of a column, on the same length; old sensors have fewer
    noise: float  # standard deviation of the sensor's noise, grey values of 255
    motion: float  # motion blur, share of the crop's width
    quality: int  # JPEG
    pitch: float  # degrees that cameras look down
    loose_box: float  # how much larger than the person the detector's boxes are
    jitter: float  # how far the boxes are off
    indoor: bool
    sunny: float  # share of moments in direct sun
    night: float  # share of moments after dark
    rain: float  # share of moments in which people hold umbrellas
    riders: float  # share of moments on a bicycle
    interlaced: bool  # both fields of a moving picture in one


@dataclasses.dataclass(frozen=True)
class Camera:
    """What one camera adds to its site."""

    number: int
    seed: int  # of its background plates
    yaw: float  # degrees; the side that people mostly show it
    spread: float  # degrees around it
    gain: Colour
    exposure: float
    light: tuple[float, float, float]  # direction to the light in the camera's frame, unit length
    ambient: float
    pitch: float
    scale: float
    contrast: float
    saturation: float
    blur: float  # of the lens, pixels of the sensor
    sharpen: float  # what the camera adds to edges, 1 is strong
    flare: float  # stray light on the sensor, linear


@dataclasses.dataclass(frozen=True)
class Sample:
    """One moment: pose, view, box, what stands in the way."""

    seed: int
    plate: int
    yaw: float
    phase: float  # of the gait, 0 to 1
    stance: str  # walk | stand | phone | carry | hold | umbrella | ride
    stride: float
    pitch: float
    sun: float  # 0 in the shade, 1 in full sun
    passers: tuple[tuple[int, float, float, float], ...]  # behind: person, metres right, metres behind, yaw
    occluder: str  # none | person | pole | cart | plant | rail
    occluder_person: int  # number of the person in the way, -1 for none
    occluder_place: float  # -1 left to 1 right
    cut: tuple[float, float, float, float]  # shares of the box cut off: left, top, right, bottom
    margin: float
    narrow: float  # least width of the box against the crop's shape; below 1 people come out wider
    exposure: float
    cast: Colour
    night: float  # 0 by day, else how dark it is, up to 1


def make_person(seed: int, number: int, site: int, kind: str, group: tuple[str, int] | None = None) -> Person:
    """The person `number`. A look-alike group shares one or two garments, a uniform group all of them.

    Args:
        kind: of the site; people at a `uniform` site wear one of two uniforms, at a `coats` site long plain
        coats.
        group: kind of group (alike, uniform) and its number within the site.
    """
    rng = np.random.default_rng((_PEOPLE, seed, number))
    person = _draw_person(rng, number)
    if group:
        shared = _draw_person(np.random.default_rng((_GROUPS, seed, site, group[1])), number)
        person = _share(person, shared, group[0], np.random.default_rng((_GROUPS, seed, site, group[1], 1)))
        person = dataclasses.replace(person, group=f"{group[0]}-{site}-{group[1]}")
    if kind == "uniform":
        worn = _draw_person(
            np.random.default_rng((_GROUPS, seed, site, 10_000 + int(rng.integers(2)))), number
        )
        person = dataclasses.replace(
            person,
            upper="jacket",
            upper_cloth=worn.upper_cloth,
            sleeve=0.95,
            hem=0.12,
            is_open=False,
            hat="none",
        )
    if kind == "coats":
        dark = Cloth("solid", (_dark(rng),) * 3, 1.0, 0.0)
        person = dataclasses.replace(
            person,
            upper="coat",
            upper_cloth=dark,
            sleeve=0.97,
            hem=rng.uniform(0.45, 0.75),
            lower="trousers",
            leg=1.0,
        )
    return person


def wears_other_coat(seed: int, number: int, kind: str, camera: int) -> bool:
    """Whether person `number` has changed coats at a camera: at about half of the cameras, for a minority."""
    share = 0.0 if kind in _FIXED_CLOTHES else 3 * _CHANGE_COATS if kind == "hard" else _CHANGE_COATS
    if np.random.default_rng((_COATS, seed, number)).random() >= share:
        return False
    return bool(np.random.default_rng((_COATS, seed, number, 1 + camera)).random() < 0.5)


def in_other_coat(seed: int, person: Person) -> Person:
    """The same person in a coat or jacket over what they wore, or without the one that they wore."""
    rng = np.random.default_rng((_COATS, seed, person.number, 0))
    if person.upper in ("jacket", "coat"):
        sleeve = _sleeve(rng, "tee")
        return dataclasses.replace(
            person, upper="tee", upper_cloth=person.inner, sleeve=sleeve, hem=0.05, is_open=False
        )
    upper = str(rng.choice(["jacket", "jacket", "coat"]))
    return dataclasses.replace(
        person,
        upper=upper,
        upper_cloth=_cloth(rng, 0.25),
        inner=person.upper_cloth,
        sleeve=_sleeve(rng, upper),
        hem=float(rng.uniform(0.35, 0.7) if upper == "coat" else rng.uniform(0.04, 0.14)),
        is_open=bool(rng.random() < 0.5),
    )


def group_of(seed: int, site: int, people: int, kind: str = "plain") -> dict[int, tuple[str, int]]:
    """Which of `people` places of a site belong to a group.

    15 % belong to look-alike groups of two to four (at a `hard` site 45 %), 5 % wear a uniform.
    """
    alike = int((0.45 if kind == "hard" else 0.15) * people)
    rng = np.random.default_rng((_GROUPS, seed, site))
    order = [int(i) for i in rng.permutation(people)]
    groups: dict[int, tuple[str, int]] = {}
    taken, number = 0, 0
    while taken < alike:
        size = min(int(rng.integers(2, 5)), people - taken)
        groups |= {place: ("alike", number) for place in order[taken : taken + size]}
        taken, number = taken + size, number + 1
    worn = order[taken : taken + int(0.05 * people)]
    if len(worn) > 1:
        groups |= {place: ("uniform", number) for place in worn}
    return groups


def make_site(seed: int, number: int, kind: str = "plain", severity: float = 3.0) -> Site:
    """The site `number`: `severity` 0..5 says how far its light, sensor and detector are from neutral."""
    rng = np.random.default_rng((_SITE, seed, number))
    level = 0.0 if kind == "null" else severity / 5
    kelvin = float(np.exp(rng.uniform(np.log(4000), np.log(9000))))
    red, green, blue = _illuminant(kelvin)
    tint = float(rng.normal(0, 0.04))
    light = np.array([red, green * (1 + tint), blue])
    drawn = {
        "exposure": np.exp(rng.uniform(-0.45, 0.45)),
        "gamma": np.exp(rng.uniform(np.log(0.75), np.log(1.5))),
        "saturation": rng.uniform(0.4, 1.4),
        "contrast": rng.uniform(0.9, 1.5),
        "haze": max(0.0, rng.uniform(-0.6, 0.25)),
        "pixels": np.exp(rng.uniform(np.log(60), np.log(230))),
        "squeeze": rng.uniform(0.55, 1.0),
        "noise": max(0.0, rng.uniform(-4, 8)),
        "motion": max(0.0, rng.uniform(-0.06, 0.09)),
        "quality": rng.uniform(30, 95),
        "pitch": rng.uniform(2, 32),
        "loose_box": rng.uniform(-0.03, 0.16),
        "jitter": rng.uniform(0.02, 0.10),
    }
    neutral = {
        "exposure": 1.0,
        "gamma": 1.0,
        "saturation": 1.0,
        "contrast": 1.2,
        "haze": 0.0,
        "pixels": 150.0,
        "squeeze": 0.9,
        "noise": 1.0,
    }
    neutral |= {"motion": 0.0, "quality": 90.0, "pitch": 12.0, "loose_box": 0.06, "jitter": 0.03}
    reach = 0.4 if kind == "between" else 1.0  # the factors of `between` lie inside what the others span
    far = {k: float(neutral[k] + level * reach * (v - neutral[k]) * _REACH) for k, v in drawn.items()}
    gain = 1 + level * reach * _REACH * (light - 1)
    far["gamma"], far["exposure"] = max(0.5, far["gamma"]), max(0.35, far["exposure"])
    if kind == "monochrome":
        far |= {"saturation": 0.0, "noise": far["noise"] + 6}
    if kind == "hard":
        far |= {"pixels": float(np.exp(rng.uniform(np.log(36), np.log(70)))), "jitter": 0.12}
    # floors, walls and light differ indoors, so a neutral site is outdoors
    indoor = level > 0 and bool(rng.random() < 0.35)
    sunny = float(max(0.0, rng.uniform(-0.4, 0.9)) if level > 0 else 0.2)
    interlaced = level > 0 and bool(rng.random() < 0.06)
    night, rain, riders = (
        max(0.0, rng.uniform(*bounds)) for bounds in ((-0.5, 0.4), (-0.6, 0.4), (-0.05, 0.12))
    )
    if kind == "hard":
        night, rain = 0.4, 0.15
    outdoors = float(level > 0 and not indoor)
    return Site(
        number=number,
        kind=kind,
        severity=0.0 if kind == "null" else float(severity),
        gain=_colour(gain.clip(0.35, 2)),
        exposure=far["exposure"],
        gamma=far["gamma"],
        saturation=max(0.0, far["saturation"]),
        contrast=far["contrast"],
        haze=min(0.5, max(0.0, far["haze"])),
        squeeze=min(1.0, max(0.45, far["squeeze"])),
        pixels=min(230.0, max(36.0, far["pixels"])),
        noise=max(0.0, far["noise"]),
        motion=max(0.0, far["motion"]),
        quality=int(min(95, max(25, far["quality"]))),
        pitch=min(40.0, max(0.0, far["pitch"])),
        loose_box=max(-0.03, far["loose_box"]),
        jitter=max(0.01, far["jitter"]),
        indoor=indoor,
        sunny=0.0 if indoor else sunny,
        night=outdoors * night,
        rain=outdoors * rain,
        riders=outdoors * riders,
        interlaced=interlaced,
    )


def make_camera(seed: int, site: Site, number: int) -> Camera:
    """Camera `number` of a site: its own place, its own side of the people, its own small colour error."""
    rng = np.random.default_rng((_CAMERA, seed, site.number, number))
    # cameras of a neutral site still stand in different places
    level = 0.25 + 0.75 * min(1.0, site.severity / 5)
    around, up = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(28, 75))
    light = np.array([np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)])
    sides = (0.0, 180.0, 90.0, 270.0, 35.0, 215.0, 145.0, 325.0)
    return Camera(
        number=number,
        seed=int(rng.integers(2**31)),
        yaw=sides[number % len(sides)] + float(rng.uniform(-20, 20)),
        spread=float(rng.uniform(15, 60)),
        gain=_colour(np.exp(level * rng.normal(0, 0.07, 3))),
        exposure=float(np.exp(level * rng.normal(0, 0.22))),
        light=_colour(light),
        ambient=float(rng.uniform(0.5, 0.85) if not site.indoor else rng.uniform(0.45, 0.8)),
        pitch=float(max(0.0, site.pitch + rng.normal(0, 5 * level))),
        scale=float(np.exp(level * rng.normal(0, 0.2))),
        contrast=float(np.exp(level * rng.normal(0, 0.08))),
        saturation=float(np.exp(level * rng.normal(0, 0.2))),
        blur=float(level * max(0.0, rng.uniform(-1.0, 1.2))),
        sharpen=float(max(0.0, rng.uniform(-0.5, 0.9))),
        flare=float(rng.uniform(0.0003, 0.006)),
    )


def make_sample(
    seed: int, site: Site, camera: Camera, person: int, shot: int, others: Sequence[int]
) -> Sample:
    """The `shot`-th moment of a person at a camera; the person's number only seeds it.

    Args:
        others: numbers of people who may stand in the way.
    """
    rng = np.random.default_rng((_SAMPLE, seed, site.number, camera.number, person, shot))
    free = rng.random() < 0.2  # now and then somebody walks another way
    draw = rng.random()
    if site.kind == "hard":
        draw /= 2
    occluder = (
        "person"
        if draw < 0.12
        else str(rng.choice(["pole", "cart", "plant", "rail", "rail"]))
        if draw < 0.25
        else "none"
    )
    blocker = others[int(rng.integers(len(others)))] if occluder == "person" else -1
    if blocker == person:
        occluder, blocker = "none", -1
    cut = rng.normal(0, site.jitter, 4)
    if rng.random() < 0.1:
        cut[int(rng.choice([0, 2, 3, 3]))] += rng.uniform(0.08, 0.3)
    if site.kind == "feet":
        cut[3] += rng.uniform(0.25, 0.5)
    if rng.random() < 0.05:  # a box that takes in far too much
        cut -= rng.uniform(0.0, 0.2, 4)
    stance = str(rng.choice(["walk"] * 5 + ["stand", "phone", "carry", "hold", "hold"]))
    held, dark, darkness = rng.random(3)
    if held < site.riders:
        stance = "ride"
    elif held > 1 - site.rain:
        stance = "umbrella"
    night = float(0.4 + 0.6 * darkness) if dark < site.night else 0.0
    cast = np.exp(rng.normal(0, 0.35 if site.kind == "cast" else 0.02, 3))
    return Sample(
        seed=int(rng.integers(2**31)),
        plate=int(rng.integers(PLATES)),
        yaw=float(rng.uniform(0, 360) if free else camera.yaw + rng.normal(0, camera.spread)) % 360,
        phase=float(rng.random()),
        stance=stance,
        stride=float(rng.uniform(0.5, 1.15)),
        pitch=float(max(0.0, camera.pitch + rng.normal(0, 3))),
        sun=float(rng.uniform(0.5, 1)) if rng.random() < site.sunny and not night else 0.0,
        passers=_passers(site, rng),
        occluder=occluder,
        occluder_person=blocker,
        occluder_place=float(rng.choice([-1, 1]) * rng.uniform(0.3, 1)),
        cut=(float(cut[0]), float(cut[1]), float(cut[2]), float(cut[3])),
        margin=float(site.loose_box + abs(rng.normal(0, 0.03))),
        narrow=float(rng.uniform(0.62, 0.95)),
        exposure=float(np.exp(rng.normal(0, 0.06))),
        cast=_colour(cast),
        night=night,
    )


def _passers(site: Site, rng: np.random.Generator) -> tuple[tuple[int, float, float, float], ...]:
    """Up to three people behind, of a few who are never the person of a crop."""
    found = []
    for _ in range(int(rng.choice(4, p=[0.5, 0.3, 0.14, 0.06]))):
        number = site.number * 1_000_000 + 900_000 + int(rng.integers(PASSERS))
        aside, behind = rng.choice([-1, 1]) * rng.uniform(0.25, 1.1), rng.uniform(0.7, 7)
        found.append((number, float(aside), float(behind), float(rng.uniform(0, 360))))
    return tuple(found)


def _draw_person(rng: np.random.Generator, number: int) -> Person:
    gender, age = (
        float(rng.choice([rng.uniform(0, 0.2), rng.uniform(0.8, 1)])),
        float(rng.uniform(0.55, 0.95)),
    )
    tone = float(rng.beta(1.1, 1.9))
    uppers = ["tee"] * 7 + ["shirt"] * 4 + ["jacket"] * 3 + ["coat"] + ["dress"] * 2
    upper = str(rng.choice(uppers))
    if upper == "dress" and gender < 0.5:
        upper = "tee"
    lower = str(rng.choice(["trousers"] * 6 + ["shorts"] * 3 + ["skirt"]))
    if lower == "skirt" and gender < 0.5:
        lower = "shorts"
    if upper == "coat":
        lower = "trousers"
    hair_styles = (
        ["short", "short", "short", "medium", "bald"]
        if gender < 0.5
        else ["long", "long", "tail", "tail", "medium", "short", "afro"]
    )
    return Person(
        number=number,
        group="",
        gender=gender,
        age=age,
        muscle=float(rng.uniform(0.25, 0.75)),
        weight=float(np.clip(rng.normal(0.5, 0.17), 0.1, 0.95)),
        height=float(np.clip(rng.normal(0.5, 0.17), 0.1, 0.9)),
        proportions=float(rng.uniform(0.3, 0.8)),
        skin=_hsv(0.055 + 0.02 * rng.random(), 0.30 + 0.32 * tone, 0.97 - 0.66 * tone),
        hair=_hair(rng, age),
        hair_style=str(rng.choice(hair_styles)),
        upper=upper,
        upper_cloth=_cloth(rng, 0.45),
        sleeve=_sleeve(rng, upper),
        hem={
            "coat": rng.uniform(0.35, 0.7),
            "dress": rng.uniform(0.35, 0.8),
            "jacket": rng.uniform(0.04, 0.14),
        }.get(upper, rng.uniform(0.0, 0.12)),
        loose=float(rng.uniform(0.3, 1.3)),
        inner=_cloth(rng, 0.25),
        is_open=bool(upper in ("jacket", "coat", "shirt") and rng.random() < 0.45),
        lower=lower,
        lower_cloth=_lower_cloth(rng),
        leg={"shorts": rng.uniform(0.18, 0.55), "skirt": rng.uniform(0.2, 0.75)}.get(
            lower, rng.choice([0.99, 0.99, 0.99, 0.8])
        ),
        shoes=_cloth(rng, 0.1),
        sole=_hsv(0.1, 0.05, rng.choice([0.1, 0.9, 0.9])),
        sandals=bool(rng.random() < 0.2),
        sock=float(rng.choice([0, 0, 0.04, 0.08, 0.16]) * rng.uniform(0.7, 1.3)),
        glasses=bool(rng.random() < 0.3),
        beard=bool(gender < 0.5 and rng.random() < 0.25),
        bag=str(rng.choice(["none"] * 5 + ["backpack", "backpack", "shoulder", "shoulder", "handbag"])),
        bag_cloth=_cloth(rng, 0.15),
        bag_side=int(rng.choice([-1, 1])),
        hat=str(rng.choice(["none"] * 19 + ["cap", "cap", "beanie", "brim", "hood"])),
        hat_cloth=_cloth(rng, 0.1),
        scarf="scarf" if rng.random() < 0.05 else "none",
        scarf_cloth=_cloth(rng, 0.4),
    )


def _share(person: Person, shared: Person, kind: str, rng: np.random.Generator) -> Person:
    """The person in the group's clothes: all of them for a uniform, else the upper, the lower, or both."""
    upper = {k: getattr(shared, k) for k in ("upper", "upper_cloth", "sleeve", "hem", "is_open", "inner")}
    lower = {k: getattr(shared, k) for k in ("lower", "lower_cloth", "leg")}
    draw = rng.random()
    worn = upper | lower if kind == "uniform" or draw < 0.4 else upper if draw < 0.7 else lower
    return dataclasses.replace(person, **worn)


def _sleeve(rng: np.random.Generator, upper: str) -> float:
    """Share of the arm: none for a vest, short or long ones for a shirt."""
    short, draw = float(rng.uniform(0.18, 0.45)), rng.random()
    if upper == "tee":
        return 0.06 if draw < 0.12 else 0.96 if draw > 0.85 else short
    if upper == "dress":
        return 0.0 if draw < 0.35 else 0.96 if draw > 0.8 else short
    if upper == "shirt":
        return short if draw < 0.45 else 0.6 if draw < 0.6 else 0.96
    return 0.96 if draw < 0.9 else 0.6


def _cloth(rng: np.random.Generator, patterned: float) -> Cloth:
    pattern = str(rng.choice(PATTERNS[1:-1])) if rng.random() < patterned else "solid"
    return Cloth(
        pattern,
        (garment(rng), garment(rng), garment(rng)),
        float(np.exp(rng.uniform(-1.1, 0.6))),
        float(rng.random()),
    )


def _lower_cloth(rng: np.random.Generator) -> Cloth:
    if rng.random() < 0.4:
        blue = _hsv(rng.uniform(0.58, 0.64), rng.uniform(0.2, 0.6), rng.uniform(0.18, 0.6))
        return Cloth("denim", (blue, blue, blue), 1.0, float(rng.random()))
    cloth = _cloth(rng, 0.12)
    return cloth._replace(colours=(_dark(rng), *cloth.colours[1:])) if rng.random() < 0.5 else cloth


def garment(rng: np.random.Generator) -> Colour:
    """A garment's colour: about 55 % black, grey, navy, white or beige, else any hue, pale to vivid."""
    draw = rng.random()
    if draw < 0.21:
        return _dark(rng)
    if draw < 0.33:
        return _hsv(rng.random(), rng.uniform(0, 0.08), rng.uniform(0.25, 0.65))
    if draw < 0.48:
        return _hsv(rng.random(), rng.uniform(0, 0.05), rng.uniform(0.8, 0.97))
    if draw < 0.55:
        return _hsv(rng.uniform(0.06, 0.13), rng.uniform(0.15, 0.4), rng.uniform(0.35, 0.85))
    hue = rng.choice([rng.uniform(-0.04, 0.04), rng.uniform(0.54, 0.68), rng.random()])
    return _hsv(hue % 1, rng.uniform(0.3, 0.95), rng.uniform(0.25, 0.95))


def _dark(rng: np.random.Generator) -> Colour:
    return _hsv(rng.choice([0.62, rng.random()]), rng.uniform(0, 0.4), rng.uniform(0.08, 0.26))


def _hair(rng: np.random.Generator, age: float) -> Colour:
    if age > 0.85 and rng.random() < 0.6:
        return _hsv(0.1, 0.05, rng.uniform(0.5, 0.85))
    tone = float(rng.choice([0.06, 0.1, 0.16, 0.25, 0.4, 0.65], p=[0.3, 0.25, 0.18, 0.13, 0.08, 0.06]))
    return _hsv(rng.uniform(0.04, 0.1), rng.uniform(0.2, 0.6), tone)


def _illuminant(kelvin: float) -> tuple[float, float, float]:
    """Channel gains of a black body's light against 6,500 K.

    A smooth fit, good to a few percent between 2,500 and 9,000 K.
    """
    x = np.log(kelvin / 6500)
    return float(np.exp(-0.42 * x)), 1.0, float(np.exp(0.85 * x if x < 0 else 0.45 * x))


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    return _colour(np.array(colorsys.hsv_to_rgb(float(hue), float(saturation), float(value))))


def _colour(values: np.ndarray) -> Colour:
    return float(values[0]), float(values[1]), float(values[2])
