"""Bodies without clothes: a rest shape for every person, a skeleton, and how to bend it.

The shapes come from `anny` (Apache-2.0 code over MakeHuman's CC0 bodies), which is called once for each
person. Bending is ours: joints turn about axes of the rest pose, so no bone's own frame matters. Metres; x is
the body's left, -y its front, z is up.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from typing import Any, NamedTuple

import numpy as np

from training.synthetic.factors import Person

JOINTS = {  # name -> parent; fingers move with their hand
    "pelvis": "",
    "spine_01": "pelvis",
    "spine_02": "spine_01",
    "spine_03": "spine_02",
    "neck_01": "spine_03",
    "head": "neck_01",
    **{f"clavicle_{s}": "spine_03" for s in "lr"},
    **{f"upperarm_{s}": f"clavicle_{s}" for s in "lr"},
    **{f"lowerarm_{s}": f"upperarm_{s}" for s in "lr"},
    **{f"hand_{s}": f"lowerarm_{s}" for s in "lr"},
    **{f"thigh_{s}": "pelvis" for s in "lr"},
    **{f"calf_{s}": f"thigh_{s}" for s in "lr"},
    **{f"foot_{s}": f"calf_{s}" for s in "lr"},
    **{f"ball_{s}": f"foot_{s}" for s in "lr"},
}
NAMES = list(JOINTS)
INDEX = {name: i for i, name in enumerate(NAMES)}
_PARENT = [INDEX[p] if p else -1 for p in JOINTS.values()]


class SynthError(RuntimeError):
    """A world that cannot be rendered here, or not into this folder; says what to do."""


@dataclasses.dataclass(frozen=True)
class Body:
    """A person's body at rest, feet on z = 0."""

    vertices: np.ndarray  # float32 [V,3]
    normals: np.ndarray  # float32 [V,3]
    faces: np.ndarray  # int32 [F,3]
    weights: np.ndarray  # float32 [V,J], rows sum to 1
    joints: np.ndarray  # float32 [J,3], where each joint turns


def make_body(person: Person) -> Body:
    """The body of a person. Raises SynthError without the extra `synthetic`."""
    shared = load_bodies()
    traits = ("gender", "age", "muscle", "weight", "height", "proportions")
    shape = shared.model(phenotype_kwargs={trait: getattr(person, trait) for trait in traits})
    rest = shape["rest_vertices"][0].numpy()
    joints = shape["rest_bone_heads"][0].numpy()[shared.bones]
    floor = rest[:, 2].min()
    vertices = (rest - [0, 0, floor]).astype(np.float32)
    joints = (joints - [0, 0, floor]).astype(np.float32)
    return Body(vertices, vertex_normals(vertices, shared.faces), shared.faces, shared.weights, joints)


def bend(joints: np.ndarray, turns: dict[str, np.ndarray]) -> np.ndarray:
    """float32 [J,3,4]: where each joint takes the vertices that belong to it.

    Args:
        joints: [J,3] at rest.
        turns: rotations [3,3] in the axes of the rest pose, by joint; the others stay straight.
    """
    moves = np.zeros((len(NAMES), 3, 4))
    for j, name in enumerate(NAMES):
        turn = turns.get(name)
        local = np.eye(3) if turn is None else turn
        above = np.eye(3, 4) if _PARENT[j] < 0 else moves[_PARENT[j]]
        move = joints[j] - local @ joints[j]
        moves[j, :, :3] = above[:, :3] @ local
        moves[j, :, 3] = above[:, :3] @ move + above[:, 3]
    return moves.astype(np.float32)


def rotation(axis: str, degrees: float) -> np.ndarray:
    """[3,3] about x, y or z, right-handed."""
    i = "xyz".index(axis)
    a, b = (i + 1) % 3, (i + 2) % 3
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(3)
    turn[a, a], turn[a, b], turn[b, a], turn[b, b] = c, -s, s, c
    return turn


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """float32 [V,3]: of unit length, each face weighing as much as its area."""
    corners = vertices[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], flat)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


class _Bodies(NamedTuple):
    model: Any  # anny's, untyped
    bones: list[int]  # its rows of our joints
    faces: np.ndarray  # int32 [F,3]
    weights: np.ndarray  # float32 [V,J]


@functools.cache
def load_bodies() -> _Bodies:
    """What all bodies share. The coarse topology is enough for people of 40 to 220 pixels.

    anny builds it in a minute or two on a machine's first call and keeps it in its cache (ANNY_CACHE_DIR).
    """
    os.environ.setdefault("WARP_LOG_LEVEL", "error")
    try:
        import warp

        warp.config.quiet = True
        import anny
    except ImportError as error:
        raise SynthError(
            f"synthetic people need the extra `synthetic`: pip install -e '.[synthetic]' ({error})"
        ) from None
    logging.getLogger("anny").setLevel(logging.ERROR)
    model = anny.Anny(
        rig="game_engine", topology="notoes_collapse10pc", skinning_method="lbs"
    ).requires_grad_(False)
    labels, parents = list(model.bone_labels), list(model.bone_parents)
    rows = [labels.index(name) for name in NAMES]
    owner = []
    for bone in range(len(labels)):  # a finger belongs to its hand, the root to the pelvis
        while labels[bone] not in INDEX and parents[bone] >= 0:
            bone = parents[bone]
        owner.append(INDEX.get(labels[bone], 0))
    coarse = np.zeros((len(model.template_vertices), len(NAMES)))
    for slot in range(model.vertex_bone_indices.shape[1]):
        joints = np.array(owner)[model.vertex_bone_indices[:, slot].numpy()]
        np.add.at(coarse, (np.arange(len(coarse)), joints), model.vertex_bone_weights[:, slot].numpy())
    faces = model.get_triangular_faces().numpy().astype(np.int32)
    return _Bodies(model, rows, faces, (coarse / coarse.sum(1, keepdims=True)).astype(np.float32))
