"""A dressed person as one mesh: skin, shells that stand off the body, and the few things that are no shell.

A garment is the part of the body that it may cover, moved outwards along the normals; where it ends (sleeve,
hem, hairline) is decided for every pixel by the shader, from rest positions, so edges are crisp however
coarse the mesh. What hangs (skirts, coats, untucked shirts) is a tube around both legs. Metres; axes as in
`body.py`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from training.synthetic.body import INDEX, NAMES, Body, vertex_normals
from training.synthetic.factors import Person

MATERIALS = ("skin", "hair", "upper", "inner", "lower", "shoes", "bag", "hat", "scarf", "prop")
SKIN, HAIR, UPPER, INNER, LOWER, SHOES, BAG, HAT, SCARF, PROP = range(len(MATERIALS))
_ARM = [INDEX[f"{n}_{s}"] for n in ("upperarm", "lowerarm", "hand") for s in "lr"]
_FOOT = [INDEX[f"{n}_{s}"] for n in ("foot", "ball") for s in "lr"]
_TORSO = [INDEX[n] for n in ("pelvis", "spine_01", "spine_02", "spine_03", "clavicle_l", "clavicle_r")]


@dataclasses.dataclass(frozen=True)
class Measures:
    """Heights and places of a body that garments are cut to."""

    hip: float
    ankle: float
    neck: float
    head: tuple[float, float, float]  # centre
    skull: float  # half the height of the head

    def below(self, share: float) -> float:
        """The height that lies a share of the leg below the hip."""
        return self.hip - share * (self.hip - self.ankle)


@dataclasses.dataclass(frozen=True)
class Figure:
    """What the renderer draws: one vertex a row."""

    places: np.ndarray  # float32 [V,3]
    normals: np.ndarray  # float32 [V,3]
    cut: np.ndarray  # float32 [V,5]: rest position 3, arm 1 (0 at the shoulder, 1 at the wrist), material 1
    weights: np.ndarray  # float32 [V,J], rows sum to 1
    faces: np.ndarray  # int32 [F,3]
    joints: np.ndarray  # float32 [J,3]
    measures: Measures
    closed: int  # the first faces, of shells around the body: their insides are never seen

    def posed(self, joints: np.ndarray, stand: np.ndarray) -> np.ndarray:
        """float32 [V,6]: places and normals of the bent figure where it stands.

        Args:
            joints: [J,3,4] from `body.bend`.
            stand: [3,4].
        """
        moves = stand[:, :3] @ joints
        moves[:, :, 3] += stand[:, 3]
        bent = (self.weights @ moves.reshape(len(joints), 12)).reshape(-1, 3, 4)
        places = (bent[:, :, :3] @ self.places[:, :, None])[..., 0] + bent[:, :, 3]
        return np.concatenate([places, (bent[:, :, :3] @ self.normals[:, :, None])[..., 0]], axis=1)


class Mesh:
    """Parts that grow into one mesh."""

    def __init__(self) -> None:
        self.parts: list[tuple[np.ndarray, ...]] = []
        self.faces: list[np.ndarray] = []
        self.count = 0
        self.closed = 0

    def add(
        self,
        place: np.ndarray,
        rest: np.ndarray,
        faces: np.ndarray,
        weights: np.ndarray,
        arm: np.ndarray,
        material: int,
    ) -> None:
        """Adds a part without the vertices that no face uses."""
        used, faces = np.unique(faces, return_inverse=True)
        faces = faces.reshape(-1, 3)
        cut = np.concatenate([rest[used], arm[used, None], np.full((len(used), 1), material)], 1)
        self.parts.append((place[used], vertex_normals(place[used], faces), cut, weights[used]))
        self.faces.append(faces + self.count)
        self.count += len(used)

    def hang(self, vertices: np.ndarray, faces: np.ndarray, weights: np.ndarray, material: int) -> None:
        """Adds a part that is no shell of the body: it rests where it is made, and no sleeve cuts it."""
        self.add(
            vertices.astype(np.float32),
            vertices,
            faces,
            weights,
            np.zeros(len(vertices), np.float32),
            material,
        )

    def figure(self, joints: np.ndarray, measures: Measures) -> Figure:
        """The whole."""
        places, normals, cut, weights = (
            np.ascontiguousarray(np.concatenate(c), np.float32) for c in zip(*self.parts, strict=True)
        )
        faces = np.concatenate(self.faces).astype(np.int32)
        return Figure(places, normals, cut, weights, faces, joints, measures, self.closed)


def dress(person: Person, body: Body) -> Figure:
    """The figure of a person: what each garment covers, how far it stands off, and what they carry."""
    measures, arm = _measure(body), _arm(body)
    arms, feet, head = (body.weights[:, rows].sum(1) for rows in (_ARM, _FOOT, [INDEX["head"]]))
    hands = body.weights[:, [INDEX["hand_l"], INDEX["hand_r"]]].sum(1)
    z = body.vertices[:, 2]
    mesh = Mesh()

    def shell(material: int, covered: np.ndarray, offset: np.ndarray | float) -> None:
        faces = body.faces[covered[body.faces].all(1)]
        if len(faces):
            moved = body.vertices + body.normals * np.broadcast_to(offset, z.shape)[:, None]
            mesh.add(moved, body.vertices, faces, body.weights, arm, material)

    trousers = person.lower != "skirt" and person.upper != "dress"
    bare = measures.below(person.leg if trousers else 0.0) + 0.03
    hidden = ((arms < 0.02) & (head < 0.02) & (z > measures.hip) & (z < measures.neck - 0.08)) | (
        trousers & (arms < 0.02) & (z > bare) & (z <= measures.hip)
    )
    shell(SKIN, ~hidden, 0.0)
    shell(SHOES, feet > 0.35, 0.007)
    folds = _folds(body.vertices, person)
    outer = {"tee": 0.006, "shirt": 0.008, "dress": 0.007, "jacket": 0.018, "coat": 0.024}[person.upper]
    top = (head < 0.3) & (hands < 0.6) & (z > measures.hip - 0.12)
    if person.is_open:
        shell(INNER, top & (arms < 0.5), 0.005)
    shell(UPPER, top, outer + 0.010 * person.loose + (0.004 + 0.006 * person.loose) * folds)
    if trousers:
        slack = 0.006 + person.loose * (0.006 + 0.022 * np.clip((measures.hip - z) / measures.hip, 0, 1))
        shell(LOWER, (arms < 0.1) & (z < measures.hip + 0.14) & (feet < 0.9), slack * (1 + 0.5 * folds))
    mesh.closed = sum(len(faces) for faces in mesh.faces)
    start = measures.hip + 0.10
    if person.hem > 0.02:
        flare = {"dress": 0.30, "coat": 0.14}.get(person.upper, 0.04)
        _tube(
            mesh,
            UPPER,
            body,
            measures,
            start,
            measures.below(person.hem),
            outer + 0.012 * person.loose,
            flare,
        )
    if person.lower == "skirt" and person.upper != "dress":
        _tube(
            mesh, LOWER, body, measures, start, measures.below(person.leg), 0.010, 0.10 + 0.25 * person.loose
        )
    _hair(mesh, person, body, measures, arm, head)
    _carried(mesh, person, body, measures)
    return mesh.figure(body.joints, measures)


def _measure(body: Body) -> Measures:
    skull = body.vertices[body.weights[:, INDEX["head"]] > 0.6]
    low, high = skull.min(0), skull.max(0)
    x, y, z = (low + high) / 2
    hip = body.joints[[INDEX["thigh_l"], INDEX["thigh_r"]], 2].mean()
    ankle = body.joints[[INDEX["foot_l"], INDEX["foot_r"]], 2].mean()
    head = (float(x), float(y), float(z))
    return Measures(
        float(hip), float(ankle), float(body.joints[INDEX["neck_01"], 2]), head, float(high[2] - low[2]) / 2
    )


def _arm(body: Body) -> np.ndarray:
    """float32 [V]: how far along the arm a vertex lies, 0 for whatever is no arm."""
    found = np.zeros(len(body.vertices), np.float32)
    for side in "lr":
        shoulder, elbow, wrist = (body.joints[INDEX[f"{n}_{side}"]] for n in ("upperarm", "lowerarm", "hand"))
        mine = body.weights[:, [INDEX[f"{n}_{side}"] for n in ("upperarm", "lowerarm", "hand")]].sum(1)
        first, second = elbow - shoulder, wrist - elbow
        whole = np.linalg.norm(first) + np.linalg.norm(second)
        along = np.clip((body.vertices - shoulder) @ first / np.linalg.norm(first), 0, np.linalg.norm(first))
        along = along + np.clip(
            (body.vertices - elbow) @ second / np.linalg.norm(second), 0, 2 * np.linalg.norm(second)
        )
        found = np.maximum(found, along / whole * np.clip(mine * 1.2, 0, 1))
    return found.astype(np.float32)


def _folds(vertices: np.ndarray, person: Person) -> np.ndarray:
    """[V] in -1..1: how cloth bulges, a sum of slanted waves that differ from person to person."""
    rng = np.random.default_rng((7, person.number))
    waves = rng.normal(0, 1, (5, 3)) * [14, 14, 26]
    return np.sin(vertices @ waves.T + rng.uniform(0, 6.3, 5)).mean(1)


def _tube(
    mesh: Mesh,
    material: int,
    body: Body,
    measures: Measures,
    top: float,
    hem: float,
    offset: float,
    flare: float,
) -> None:
    """A tube around pelvis and both legs; its lower part follows the thigh that it lies on."""
    sectors, rings = 28, 9
    angles = np.arange(sectors) * 2 * np.pi / sectors
    ways = np.stack([np.cos(angles), np.sin(angles)])
    trunk = body.vertices[body.weights[:, _ARM].sum(1) < 0.05]
    rows, reach = [], np.zeros(sectors)
    for height in np.linspace(top, hem, rings):
        near = trunk[np.abs(trunk[:, 2] - height) < 0.04]
        centre = trunk[np.abs(trunk[:, 2] - top) < 0.04][:, :2].mean(0)
        if len(near):
            reach = np.maximum(((near[:, :2] - centre) @ ways).max(0), 0.9 * reach)
        ripple = 1 + 0.03 * np.sin(7 * angles) * (top - height) / 0.4
        ring = centre + (ways * (reach * ripple + offset + flare * (top - height))).T
        rows.append(np.concatenate([ring, np.full((sectors, 1), height)], 1))
    vertices = np.concatenate(rows).astype(np.float32)
    weights = np.zeros((len(vertices), len(NAMES)))
    depth = np.clip((measures.hip + 0.03 - vertices[:, 2]) / 0.3, 0, 1)
    left = 1 / (1 + np.exp(-vertices[:, 0] / 0.03))
    weights[:, INDEX["pelvis"]] = 1 - 0.85 * depth
    weights[:, INDEX["thigh_l"]], weights[:, INDEX["thigh_r"]] = (
        0.85 * depth * left,
        0.85 * depth * (1 - left),
    )
    mesh.hang(vertices, grid(rings, sectors, True), weights, material)


def _hair(
    mesh: Mesh, person: Person, body: Body, measures: Measures, arm: np.ndarray, head: np.ndarray
) -> None:
    centre = np.array(measures.head)
    out = body.vertices - centre
    out = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)
    faces = body.faces[(head > 0.5)[body.faces].all(1)]

    def cap(material: int, thick: float) -> None:
        mesh.add(
            body.vertices + (out * thick).astype(np.float32),
            body.vertices,
            faces,
            body.weights,
            arm,
            material,
        )

    thick = {"short": 0.010, "medium": 0.022, "long": 0.020, "tail": 0.012, "afro": 0.06}.get(
        person.hair_style, 0.0
    )
    if thick and person.hat != "hood":
        cap(HAIR, thick)
    worn = {"cap": 0.020, "beanie": 0.026, "brim": 0.020, "hood": 0.034}.get(person.hat, 0.0)
    if worn:
        cap(HAT, worn + (0.5 * thick if person.hat != "hood" else 0))
    x, y, z = measures.head
    size = measures.skull
    if person.hat == "hood":
        return
    if person.hair_style == "long":
        _curtain(mesh, body, measures, 0.20 + 0.22 * (person.upper_cloth.phase))
    elif person.hair_style == "tail":
        ball(mesh, HAIR, (x, y + size * 1.02, z - 0.3 * size), (0.03, 0.03, 0.09), "head")
    if person.hat in ("cap", "brim"):
        front = person.hat == "cap"
        angles = np.linspace(-np.pi, 0, 15) if front else np.linspace(0, 2 * np.pi, 25)
        near, far = (0.9, 1.75) if front else (0.85, 1.65)
        ways = np.stack([np.cos(angles) * 0.8, np.sin(angles)], 1) * size * 0.72
        height = z + 0.30 * size
        rows = [
            np.concatenate([np.array([x, y]) + ways * r, np.full((len(ways), 1), h)], 1)
            for r, h in ((near, height), (far, height - 0.012))
        ]
        rigid(mesh, HAT, np.concatenate(rows), grid(2, len(angles), False), "head")


def _curtain(mesh: Mesh, body: Body, measures: Measures, length: float) -> None:
    """Long hair: half a tube behind the head that falls on the back."""
    angles = np.linspace(np.radians(-5), np.radians(185), 15)
    x, y, z = measures.head
    rings = np.linspace(z + 0.35 * measures.skull, z - 0.5 * measures.skull - length, 7)
    trunk = body.vertices[body.weights[:, _ARM].sum(1) < 0.05]
    rows = []
    for i, height in enumerate(rings):
        near = trunk[np.abs(trunk[:, 2] - height) < 0.04]
        back = max(float(near[:, 1].max()), y + measures.skull * 0.75) + 0.015
        wide = measures.skull * (0.78 - 0.03 * i)
        centre = y + 0.02
        rows.append(
            np.stack(
                [x + wide * np.cos(angles), centre + (back - centre) * np.sin(angles), np.full(15, height)], 1
            )
        )
    vertices = np.concatenate(rows)
    weights = np.zeros((len(vertices), len(NAMES)))
    low = np.clip((z - vertices[:, 2]) / 0.3, 0, 1)
    weights[:, INDEX["head"]], weights[:, INDEX["spine_03"]] = 1 - low, low
    mesh.hang(vertices, grid(7, 15, False), weights, HAIR)


def _carried(mesh: Mesh, person: Person, body: Body, measures: Measures) -> None:
    chest, hip = body.joints[INDEX["spine_03"]], body.joints[INDEX["pelvis"]]
    torso = body.vertices[body.weights[:, _TORSO].sum(1) > 0.9]
    back = float(torso[np.abs(torso[:, 2] - chest[2]) < 0.1][:, 1].max())
    side = person.bag_side
    grow = 0.85 + 0.4 * person.bag_cloth.phase
    if person.bag == "backpack":
        box(mesh, BAG, (0, back + 0.085, chest[2] + 0.02), (0.15 * grow, 0.085, 0.22 * grow), "spine_03")
    elif person.bag == "shoulder":
        wide = float(torso[np.abs(torso[:, 2] - hip[2]) < 0.1][:, 0].max())
        box(
            mesh,
            BAG,
            (side * (wide + 0.07), hip[1], hip[2] - 0.06),
            (0.05, 0.14 * grow, 0.11 * grow),
            "pelvis",
        )
    elif person.bag == "handbag":
        name = "hand_l" if side > 0 else "hand_r"
        wrist, elbow = body.joints[INDEX[name]], body.joints[INDEX[name.replace("hand", "lowerarm")]]
        down = (wrist - elbow) / np.linalg.norm(wrist - elbow)
        box(
            mesh,
            BAG,
            tuple(wrist + down * (0.17 + 0.12 * grow)),
            (0.045, 0.13 * grow, 0.11 * grow),
            name,
            down,
        )
    if person.scarf != "none":
        neck = body.joints[INDEX["neck_01"]]
        ring, turn = np.meshgrid(np.linspace(0, 2 * np.pi, 17), np.linspace(0, 2 * np.pi, 9), indexing="ij")
        r = 0.075 + 0.034 * np.cos(turn)
        place = np.stack(
            [r * np.cos(ring), neck[1] - 0.012 + r * np.sin(ring), neck[2] + 0.025 + 0.042 * np.sin(turn)], -1
        )
        rigid(mesh, SCARF, place.reshape(-1, 3), grid(17, 9, False), "neck_01")


def rigid(mesh: Mesh, material: int, vertices: np.ndarray, faces: np.ndarray, joint: str) -> None:
    """Adds vertices [N,3] and faces [F,3] that move with one joint."""
    weights = np.zeros((len(vertices), len(NAMES)))
    weights[:, INDEX[joint]] = 1
    mesh.hang(vertices, faces, weights, material)


def box(
    mesh: Mesh,
    material: int,
    centre: tuple,
    half: tuple[float, float, float],
    joint: str,
    down: np.ndarray | None = None,
) -> None:
    """A box with round edges; `down` tilts it so that its lower side points there."""
    shape = rounded(0.35) * np.array(half)
    if down is not None:
        z = -np.asarray(down, float)
        x = np.cross([0, 1, 0], z)
        x /= np.linalg.norm(x)
        shape = shape @ np.stack([x, np.cross(z, x), z])
    rigid(mesh, material, shape + np.array(centre, float), grid(9, 16, True), joint)


def ball(mesh: Mesh, material: int, centre: tuple, half: tuple, joint: str) -> None:
    """A ball, stretched to `half` its size in each direction."""
    rigid(mesh, material, rounded(1.0) * np.array(half) + np.array(centre, float), grid(9, 16, True), joint)


def rounded(power: float) -> np.ndarray:
    """[144,3]: a superellipsoid within -1..1, from a ball (power 1) towards a box (power 0); faces are
    `grid(9, 16, True)`."""
    up, around = np.meshgrid(np.linspace(-np.pi / 2, np.pi / 2, 9), np.arange(16) * np.pi / 8, indexing="ij")

    def bent(wave: np.ndarray) -> np.ndarray:
        return np.sign(wave) * np.abs(wave) ** power

    parts = [
        bent(np.cos(up)) * bent(np.cos(around)),
        bent(np.cos(up)) * bent(np.sin(around)),
        bent(np.sin(up)),
    ]
    return np.stack(parts, -1).reshape(-1, 3)


def grid(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Faces of a sheet of vertices [rows*columns]; `closed` joins the last column to the first."""
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    quads = [np.stack([a, b, a + columns], -1), np.stack([b, b + columns, a + columns], -1)]
    return np.concatenate([q.reshape(-1, 3) for q in quads]).astype(np.int32)
