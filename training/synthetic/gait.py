"""Poses: a walk by phase and stride, and the few other things that people do before a camera."""

from __future__ import annotations

import numpy as np

from training.synthetic.body import INDEX, rotation
from training.synthetic.factors import Sample

UMBRELLA_HAND = "r"


def pose(sample: Sample, joints: np.ndarray) -> dict[str, np.ndarray]:
    """Rotations [3,3] of the joints that are not straight, for `body.bend`.

    Hips, knees and ankles follow the usual curves of level walking (hip flexion about 30 to -12 degrees, a
    knee that bends 60 degrees in swing); arms swing against the legs. Bending forwards is a positive turn
    about x for arms and legs here.
    """
    rng = np.random.default_rng((6, sample.seed))
    walking = sample.stance in ("walk", "carry", "hold", "umbrella") or (
        sample.stance == "phone" and rng.random() < 0.5
    )
    stride = sample.stride if walking else 0.12 * sample.stride
    hand = "l" if rng.random() < 0.3 else "r"
    turns: dict[str, np.ndarray] = {}
    for side, offset in (("l", 0.0), ("r", 0.5)):
        t = 2 * np.pi * (sample.phase + offset)
        hip = stride * (9 + 21 * np.cos(t))
        knee = stride * (6 + 28 * max(0.0, np.sin(t + 2.7)) ** 1.3 + 22 * max(0.0, np.sin(t + 3.1)) ** 2) + 2
        ankle = stride * (-8 * np.sin(t + 0.5))
        if sample.stance == "ride":
            hip, knee, ankle = 52 + 26 * np.cos(t), 66 + 34 * np.cos(t + 0.5), 8 * np.sin(t)
        out = (1 if side == "l" else -1) * (_outward(joints, f"thigh_{side}", f"foot_{side}") - 1.5)
        turns[f"thigh_{side}"] = rotation("x", -hip) @ rotation("y", out)
        turns[f"calf_{side}"] = rotation("x", knee)
        turns[f"foot_{side}"] = rotation("x", ankle + hip * 0.25 - knee * 0.2)
        turns |= _arm(side, sample, -stride * 22 * np.cos(t) - 4, hand, rng, joints)
    turns["pelvis"] = rotation("z", stride * 5 * np.sin(2 * np.pi * sample.phase))
    lean = 16.0 if sample.stance == "ride" else 0.0
    turns["spine_02"] = rotation("x", lean + float(rng.normal(3, 3))) @ rotation(
        "z", -stride * 8 * np.sin(2 * np.pi * sample.phase)
    )
    down = 25.0 if sample.stance == "phone" else float(rng.normal(4, 8)) - lean
    turns["neck_01"] = rotation("x", down / 2) @ rotation("z", float(rng.normal(0, 14)))
    turns["head"] = rotation("x", down / 2) @ rotation("z", float(rng.normal(0, 10)))
    return turns


def _arm(
    side: str, sample: Sample, swing: float, hand: str, rng: np.random.Generator, joints: np.ndarray
) -> dict[str, np.ndarray]:
    sign = 1 if side == "l" else -1
    shoulder, elbow, inward = float(swing), 14 + 0.5 * max(0.0, -swing) + float(rng.uniform(0, 14)), 0.0
    pocket = float(rng.random())
    if sample.stance == "phone" and side == hand:
        shoulder, elbow, inward = -25.0, 105.0, 35.0
    elif sample.stance == "hold" and side == hand:
        shoulder, elbow, inward = float(rng.uniform(-10, 15)), float(rng.uniform(60, 120)), 30.0
    elif sample.stance == "stand" and pocket < 0.4:
        shoulder, elbow, inward = 8.0, 55.0, 20.0  # hands in the pockets, or folded low
    elif sample.stance == "umbrella" and side == UMBRELLA_HAND:
        shoulder, elbow, inward = -22.0, 118.0, 12.0
    elif sample.stance == "ride":
        shoulder, elbow, inward = -44.0, 22.0, 0.0
    elif sample.stance == "carry":
        shoulder, elbow = swing * 0.2, 8.0
    lower = _outward(joints, f"upperarm_{side}", f"lowerarm_{side}") - float(rng.uniform(7, 13))
    upper, fore = (
        _along(joints, f"upperarm_{side}", f"lowerarm_{side}"),
        _along(joints, f"lowerarm_{side}", f"hand_{side}"),
    )
    # The resting forearm is bent forwards already; only what is missing is added, in the plane of the arm and
    # the front.
    hinge = np.cross(upper, [0, -1, 0])
    bent = float(np.degrees(np.arccos(np.clip(upper @ fore, -1, 1))))
    return {
        f"upperarm_{side}": rotation("x", shoulder)
        @ rotation("y", sign * lower)
        @ about(upper, sign * inward),
        f"lowerarm_{side}": about(hinge, elbow - bent),
    }


def about(axis: np.ndarray, degrees: float) -> np.ndarray:
    """[3,3]: a turn about any axis, right-handed (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _along(joints: np.ndarray, start: str, end: str) -> np.ndarray:
    bone = (joints[INDEX[end]] - joints[INDEX[start]]).astype(float)
    return bone / np.linalg.norm(bone)


def _outward(joints: np.ndarray, start: str, end: str) -> float:
    """Degrees by which a limb of the resting body points away from straight down, sideways."""
    a, b = joints[INDEX[start]], joints[INDEX[end]]
    return float(np.degrees(np.arctan2(abs(b[0] - a[0]), a[2] - b[2])))
