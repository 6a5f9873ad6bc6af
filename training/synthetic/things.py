"""What is no person: things that stand in the way, umbrellas and bicycles. Metres, z up, 0 on the ground."""

from __future__ import annotations

import numpy as np

from training.synthetic.body import NAMES
from training.synthetic.clothes import BAG, PROP, SHOES, Figure, Measures, Mesh, ball, box, grid, rigid

SEAT = 0.86  # height of a bicycle's saddle; its front is at -y, where a person who stands at yaw 0 looks
SADDLE = 0.17  # where the saddle is along y
_WHEEL = 0.34


def prop(kind: str, seed: int) -> Figure:
    """Something that stands in the way: pole | cart | plant | rail. Its joints never turn, as of all here."""
    rng = np.random.default_rng((8, seed))
    mesh = Mesh()
    if kind == "pole":
        box(mesh, PROP, (0, 0, 1.2), (float(rng.uniform(0.04, 0.1)), 0.08, 1.3), "pelvis")
    elif kind == "cart":
        box(mesh, PROP, (0, 0, 0.5), (0.35, 0.25, float(rng.uniform(0.2, 0.4))), "pelvis")
        box(mesh, BAG, (0.1, 0, 0.85), (0.2, 0.18, 0.2), "pelvis")
    elif kind == "rail":
        high = float(rng.uniform(0.6, 1.05))
        for level in range(int(rng.integers(2, 4))):
            box(mesh, PROP, (0, 0, high * (1 - 0.42 * level)), (1.6, 0.025, 0.025), "pelvis")
        for post in (-1.5, -0.5, 0.5, 1.5):
            box(mesh, PROP, (post, 0, high / 2), (0.025, 0.025, high / 2), "pelvis")
    else:
        tall = float(rng.uniform(0.5, 1.1))
        for _ in range(36):
            x, y, z = rng.normal(0, 0.17), rng.normal(0, 0.1), rng.uniform(0.05, tall)
            r = float(rng.uniform(0.03, 0.09))
            ball(mesh, PROP, (x, y, z), (r, r, 0.7 * r), "pelvis")
    return _still(mesh)


def umbrella(top: float, aside: float) -> Figure:
    """An open umbrella whose canopy ends at height `top`, its shaft `aside` metres to the person's left."""
    mesh = Mesh()
    ribs = 16
    out, around = np.meshgrid(np.linspace(0.02, 1, 5), np.arange(ribs) * 2 * np.pi / ribs, indexing="ij")
    low = 0.06 * (1 - np.cos(8 * around)) * out**2  # the cloth hangs between eight ribs' ends
    canopy = np.stack(
        [
            aside + 0.52 * out * np.cos(around),
            -0.06 + 0.52 * out * np.sin(around),
            top - 0.24 * out**2 + 0.3 * low,
        ],
        -1,
    )
    rigid(mesh, BAG, canopy.reshape(-1, 3), grid(5, ribs, True), "pelvis")
    shaft = 0.5 * 0.9
    box(mesh, PROP, (aside, -0.06, top - shaft), (0.012, 0.012, shaft), "pelvis")
    return _still(mesh)


def bicycle() -> Figure:
    """A bicycle that a person sits on: wheels, frame, saddle, handlebar."""
    mesh = Mesh()
    front, back = (0.0, -0.58, _WHEEL), (0.0, 0.48, _WHEEL)
    for hub in (front, back):
        _ring(mesh, hub, _WHEEL - 0.02)
        for turn in np.arange(6) * np.pi / 6:
            reach = np.array([0, np.cos(turn), np.sin(turn)]) * (_WHEEL - 0.03)
            _tube(mesh, PROP, np.array(hub) - reach, np.array(hub) + reach, 0.003)
    crank, seat, head = (0.0, 0.02, 0.30), (0.0, SADDLE, SEAT - 0.06), (0.0, -0.40, 0.86)
    for start, end in (
        (crank, seat),
        (crank, head),
        (seat, head),
        (crank, back),
        (seat, back),
        (head, front),
    ):
        _tube(mesh, BAG, np.array(start), np.array(end), 0.017)
    box(mesh, SHOES, (0, SADDLE + 0.02, SEAT - 0.03), (0.07, 0.13, 0.035), "pelvis")
    stem = np.array([0.0, -0.42, 1.02])
    _tube(mesh, PROP, np.array(head), stem, 0.014)
    aside = np.array([0.29, 0.0, 0.0])
    _tube(mesh, PROP, stem - aside, stem + aside, 0.014)
    return _still(mesh)


def _ring(mesh: Mesh, hub: tuple[float, float, float], radius: float) -> None:
    """A tyre around the x axis."""
    around, turn = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, 2 * np.pi, 6), indexing="ij")
    r = radius + 0.02 * np.cos(turn)
    place = np.stack([0.02 * np.sin(turn), r * np.cos(around), r * np.sin(around)], -1)
    rigid(mesh, SHOES, place.reshape(-1, 3) + np.array(hub), grid(25, 6, False), "pelvis")


def _tube(mesh: Mesh, material: int, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    """A straight tube of six sides between two points."""
    along = (end - start) / np.linalg.norm(end - start)
    side = np.cross(along, [0.0, 0.0, 1.0] if abs(along[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    other = np.cross(along, side)
    turn = np.arange(6) * np.pi / 3
    circle = radius * (np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * other)
    rigid(mesh, material, np.concatenate([start + circle, end + circle]), grid(2, 6, True), "pelvis")


def _still(mesh: Mesh) -> Figure:
    """A figure whose joints never turn."""
    return mesh.figure(np.zeros((len(NAMES), 3), np.float32), Measures(0.9, 0.1, 1.5, (0.0, 0.0, 1.7), 0.12))
