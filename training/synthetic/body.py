"""Bodies without clothes: a rest shape for every person, a skeleton, and how to bend it.

The shapes come from `anny` (Apache-2.0 code over MakeHuman's CC0 bodies); it is asked once for each person. Bending is ours:
joints turn about axes of the rest pose, so no bone's own frame matters. Metres; x is the body's left, -y its front, z is up.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os

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
    height: float


def make_body(person: Person) -> Body:
    """The body of a person; raises SynthError without the extra `synthetic`."""
    model, bones, faces, refine, weights = load_bodies()
    asked = {k: getattr(person, k) for k in ("gender", "age", "muscle", "weight", "height", "proportions")}
    shape = model(phenotype_kwargs=asked)
    rest = refine @ shape["rest_vertices"][0].numpy()
    joints = shape["rest_bone_heads"][0].numpy()[bones]
    floor = rest[:, 2].min()
    vertices = (rest - [0, 0, floor]).astype(np.float32)
    joints = (joints - [0, 0, floor]).astype(np.float32)
    return Body(vertices, vertex_normals(vertices, faces), faces, weights, joints, float(vertices[:, 2].max()))


def bend(joints: np.ndarray, turns: dict[str, np.ndarray]) -> np.ndarray:
    """float32 [J,3,4]: where each joint takes the vertices that belong to it.

    Args:
        joints: [J,3] at rest.
        turns: rotations [3,3] in the axes of the rest pose, by joint; the others stay straight.
    """
    found = np.zeros((len(NAMES), 3, 4))
    for j, name in enumerate(NAMES):
        turn = turns.get(name)
        local = np.eye(3) if turn is None else turn
        above = np.eye(3, 4) if _PARENT[j] < 0 else found[_PARENT[j]]
        move = joints[j] - local @ joints[j]
        found[j, :, :3] = above[:, :3] @ local
        found[j, :, 3] = above[:, :3] @ move + above[:, 3]
    return found.astype(np.float32)


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
    found = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(found, faces[:, corner], flat)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


@functools.cache
def load_bodies():  # type: ignore[no-untyped-def]
    """anny's model, the rows of our joints, faces, the refinement [V,v] and skinning weights [V,J]."""
    os.environ.setdefault("WARP_LOG_LEVEL", "error")
    try:
        import torch
        import warp

        warp.config.quiet = True
        import anny
    except ImportError as error:
        raise SynthError(f"synthetic people need the extra `synthetic`: pip install 'resight[synthetic]' ({error})") from None
    logging.getLogger("anny").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    model = anny.Anny(rig="game_engine", topology="notoes_collapse10pc", skinning_method="lbs").requires_grad_(False)
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
    faces, refine = subdivide(model.get_triangular_faces().numpy(), len(coarse))
    weights = np.clip(refine @ coarse, 0, None)
    return model, rows, faces, refine, (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def subdivide(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """One step of Loop's subdivision (1987) of a closed surface: faces int32 [4F,3] and the matrix [V',V] that places vertices."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, which = np.unique(edges, axis=0, return_inverse=True)
    which = which.reshape(3, -1).T + count
    place = np.zeros((count + len(unique), count))
    degree = np.bincount(unique.ravel(), minlength=count)
    beta = (0.625 - (0.375 + 0.25 * np.cos(2 * np.pi / np.maximum(degree, 3))) ** 2) / np.maximum(degree, 1)
    place[np.arange(count), np.arange(count)] = 1 - degree * beta
    place[unique[:, 0], unique[:, 1]] = beta[unique[:, 0]]
    place[unique[:, 1], unique[:, 0]] = beta[unique[:, 1]]
    for side, far in ((0, 2), (1, 0), (2, 1)):  # an edge's point: 3/8 of its ends, 1/8 of the corner across on each side
        np.add.at(place, (which[:, side], faces[:, far]), 0.125)
    rows = np.arange(count, count + len(unique))
    place[rows, unique[:, 0]] += 0.375
    place[rows, unique[:, 1]] += 0.375
    a, b, c = faces.T
    ab, bc, ca = which.T
    fine = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    return fine.astype(np.int32), place
