"""Draws figures in front of background plates with OpenGL, without a screen (EGL).

On a CPU with Mesa's software rasteriser, on a GPU with its driver.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from training.synthetic.body import SynthError
from training.synthetic.clothes import (
    BAG,
    HAIR,
    HAT,
    INNER,
    LOWER,
    MATERIALS,
    PROP,
    SCARF,
    SHOES,
    SKIN,
    UPPER,
    Figure,
)
from training.synthetic.factors import PATTERNS, Camera, Cloth, Colour, Person, Sample

try:
    import moderngl
except ImportError as missing:
    raise SynthError(
        f"synthetic people need the extra `synthetic`: pip install -e '.[synthetic]' ({missing})"
    ) from None

HAIR_STYLES = ("bald", "short", "medium", "long", "tail", "afro")
HATS = ("none", "cap", "beanie", "brim", "hood")
_CONTEXT: dict[str, Any] = {"require": 330, "backend": "egl"}
_KEPT = 16  # cameras whose plates stay on the renderer, 2.5 MB each
_DISTANCE = 9.0  # metres from the camera to the person


@dataclasses.dataclass(frozen=True)
class View:
    """A camera's look at a person: world to clip, and where the eye is."""

    matrix: np.ndarray  # [4,4]
    eye: np.ndarray  # [3]


class Drawn:
    """A figure on the renderer, ready to be posed; `release` frees it."""

    def __init__(self, renderer: Renderer, figure: Figure, looks: dict[str, np.ndarray]) -> None:
        self.figure, self.looks = figure, looks
        self.posed = renderer.context.buffer(reserve=figure.places.nbytes * 2, dynamic=True)
        self._cut = renderer.context.buffer(figure.cut.tobytes())
        self._faces = renderer.context.buffer(figure.faces.tobytes())
        parts = [(self.posed, "3f 3f", "place", "normal"), (self._cut, "3f 1f 1f", "rest", "arm", "material")]
        self.array = renderer.context.vertex_array(renderer.figures, parts, self._faces)
        flat = [(self.posed, "3f 12x", "place")]
        self.flat = renderer.context.vertex_array(renderer.casts, flat, self._faces)

    def release(self) -> None:
        """Frees the buffers."""
        for thing in (self.array, self.flat, self.posed, self._cut, self._faces):
            thing.release()


class Renderer:
    """One OpenGL context that draws crops of one size.

    Raises SynthError where no OpenGL 3.3 context can be made without a screen.
    """

    def __init__(self, height: int, width: int) -> None:
        try:
            self.context = moderngl.create_standalone_context(**_CONTEXT)
        except Exception as error:  # moderngl raises plain Exception
            raise SynthError(
                "no OpenGL 3.3 without a screen (EGL); on Debian and Ubuntu install libegl1 and "
                "libgl1-mesa-dri: " + str(error)
            ) from None
        self.height, self.width = height, width
        self.figures, self.casts = self._program("figure"), self._program("cast")
        self._backs, self._shadows = self._program("plate"), self._program("shadow")
        quad = self.context.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes())
        self._back = self.context.vertex_array(self._backs, [(quad, "2f", "corner")])
        self._shadow = self.context.vertex_array(self._shadows, [(quad, "2f", "corner")])
        grain = np.random.default_rng(14).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
        self._grain = self.context.texture3d((32, 32, 32), 3, grain.tobytes())
        self._grain.filter = (moderngl.LINEAR, moderngl.LINEAR)
        _uniform(self.figures, "grain").value = 1
        size = (width, height)
        self._target = self.context.framebuffer(
            [self.context.renderbuffer(size, 4)], self.context.depth_renderbuffer(size)
        )
        self._plates: dict[int, moderngl.TextureArray] = {}

    def _program(self, name: str) -> moderngl.Program:
        here = Path(__file__).parent / "shaders"
        vertex, fragment = ((here / f"{name}.{end}").read_text() for end in ("vert", "frag"))
        return self.context.program(vertex_shader=vertex, fragment_shader=fragment)

    def upload(self, figure: Figure, looks: dict[str, np.ndarray]) -> Drawn:
        """A figure with its looks (`person_looks`, `prop_looks`)."""
        return Drawn(self, figure, looks)

    def plates(self, key: int, make: Callable[[], np.ndarray]) -> None:
        """Has a camera's plates, uint8 [n,H,W,3], made and kept under `key`, unless they are there."""
        if key not in self._plates:
            images = make()
            count, height, width = images.shape[:3]
            texture = self.context.texture_array(
                (width, height, count), 3, np.ascontiguousarray(images[:, ::-1]).tobytes()
            )
            texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
            texture.repeat_x = texture.repeat_y = False
            self._plates[key] = texture
            if len(self._plates) > _KEPT:
                self._plates.pop(next(iter(self._plates))).release()

    def begin(self, key: int, plate: int, window: tuple[float, float, float, float]) -> None:
        """Starts a crop with a plate seen through a window (left, bottom, width, height; 0 to 1)."""
        self._target.use()
        self.context.clear(0.5, 0.5, 0.5, 1.0)
        self.context.disable(moderngl.DEPTH_TEST)
        self._plates[key].use(0)
        self._grain.use(1)
        _uniform(self._backs, "plate").value = float(plate)
        _uniform(self._backs, "window").value = window
        self._back.render(moderngl.TRIANGLE_STRIP)

    def shadow(self, view: View, x: float, y: float, dark: float) -> None:
        """A dark patch on the ground."""
        self.context.enable(moderngl.BLEND)
        self.context.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA
        _uniform(self._shadows, "view").write(_columns(view.matrix))
        _uniform(self._shadows, "patch_").value = (x, y, 0.42)
        _uniform(self._shadows, "dark").value = dark
        self._shadow.render(moderngl.TRIANGLE_STRIP)
        self.context.disable(moderngl.BLEND)

    def draw(self, drawn: Drawn, posed: np.ndarray, view: View, camera: Camera, sun: float = 0.0) -> None:
        """Draws a figure as `Figure.posed` has bent it, with its shadow on the ground in the sun (0 to 1)."""
        program, figure = self.figures, drawn.figure
        self.context.enable(moderngl.DEPTH_TEST)
        drawn.posed.write(np.ascontiguousarray(posed, np.float32))
        if sun:
            self.context.enable(moderngl.BLEND)
            _uniform(self.casts, "view").write(_columns(view.matrix))
            _uniform(self.casts, "light").value = camera.light
            _uniform(self.casts, "dark").value = 0.5 * sun
            drawn.flat.render()
            self.context.disable(moderngl.BLEND)
        _uniform(program, "view").write(_columns(view.matrix))
        _uniform(program, "light").value = camera.light
        _uniform(program, "eye").value = tuple(float(x) for x in view.eye)
        _uniform(program, "ambient").value = camera.ambient * (1 - 0.55 * sun)
        for name, values in drawn.looks.items():
            _uniform(program, name).write(np.ascontiguousarray(values, np.float32).tobytes())
        self.context.enable(moderngl.CULL_FACE)
        drawn.array.render(vertices=3 * figure.closed)
        self.context.disable(moderngl.CULL_FACE)
        drawn.array.render(vertices=3 * (len(figure.faces) - figure.closed), first=3 * figure.closed)

    def read(self) -> np.ndarray:
        """uint8 [H,W,3]: the crop."""
        pixels = np.frombuffer(self._target.read(components=3, alignment=1), np.uint8)
        return pixels.reshape(self.height, self.width, 3)[::-1]

    def close(self) -> None:
        """Releases the context."""
        self.context.release()


def look(points: np.ndarray, sample: Sample, aspect: float) -> tuple[View, float]:
    """The view of a camera whose detector has put a box around `points`, and the box's relative height.

    Args:
        points: float [N,3] of the posed figure, feet near z = 0.
        sample: how far the camera looks down, and how well the box fits: `margin` is how much larger than the
        person it is, `cut` what is cut off left, top, right and bottom, as shares; negative ones add.
        aspect: width of the crop against its height.

    Returns the view and the box's height against the person's.
    """
    margin = sample.margin
    middle = np.array([0.0, 0.0, 0.5 * points[:, 2].max()])
    angle = np.radians(sample.pitch)
    back = np.array([0.0, -np.cos(angle), np.sin(angle)])
    right, up = np.array([1.0, 0.0, 0.0]), np.array([0.0, np.sin(angle), np.cos(angle)])
    eye = middle + _DISTANCE * back
    flat = (points - eye) @ np.stack([right, up, -back]).T
    seen = flat[:, :2] / flat[:, 2:]
    low, high = seen.min(0), seen.max(0)
    tall = float(high[1] - low[1])
    height = tall * (1 + margin)
    width = max(float(high[0] - low[0]) * (1 + margin), sample.narrow * aspect * height)
    width = min(width, 1.3 * aspect * height)
    centre = (low + high) / 2
    left, top, end, bottom = sample.cut
    x0, x1 = centre[0] - width * (0.5 - left), centre[0] + width * (0.5 - end)
    y0, y1 = centre[1] - height * (0.5 - bottom), centre[1] + height * (0.5 - top)
    near, far = 0.5 * _DISTANCE, 2.5 * _DISTANCE
    camera = np.eye(4)
    camera[:3, :3] = np.stack([right, up, back])
    camera[:3, 3] = -camera[:3, :3] @ eye
    box = np.zeros((4, 4))
    box[0, 0], box[0, 2] = 2 / (x1 - x0), (x1 + x0) / (x1 - x0)
    box[1, 1], box[1, 2] = 2 / (y1 - y0), (y1 + y0) / (y1 - y0)
    box[2, 2], box[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    box[3, 2] = -1
    return View(box @ camera, eye), (y1 - y0) / tall


def person_looks(person: Person, figure: Figure) -> dict[str, np.ndarray]:
    """The shader's parameters of a person."""
    solid = Cloth("solid", ((0.5, 0.5, 0.5),) * 3, 1.0, 0.0)
    cloths = {name: solid for name in range(len(MATERIALS))} | {
        SKIN: _plain(person.skin),
        HAIR: _plain(person.hair),
        UPPER: person.upper_cloth,
        INNER: person.inner,
        LOWER: person.lower_cloth,
        SHOES: person.shoes._replace(colours=(person.shoes.colours[0], person.sole, person.shoes.colours[2])),
        BAG: person.bag_cloth,
        HAT: person.upper_cloth if person.hat == "hood" else person.hat_cloth,
        SCARF: person.scarf_cloth,
    }
    folds = {
        SKIN: 0.12,
        HAIR: 0.5,
        UPPER: 0.32 + 0.28 * person.loose,
        INNER: 0.45,
        LOWER: 0.36 + 0.3 * person.loose,
        SCARF: 0.8,
    }
    m = figure.measures
    waist = m.hip + (0.02 if person.upper in ("tee", "shirt", "dress") and person.hem > 0.02 else 0.10)
    collar = m.neck + {"tee": 0.0, "dress": -0.02, "shirt": 0.03, "jacket": 0.04, "coat": 0.05}[person.upper]
    front = 0.05 + 0.03 * person.loose if person.is_open else 0.0
    ankle = m.ankle + 0.01
    strap = {"backpack": 1.0, "shoulder": 2.0}.get(person.bag, 0.0)
    return _looks(cloths, folds) | {
        "cut": np.array([person.sleeve, m.below(person.hem), waist, collar]),
        "cut2": np.array([m.below(person.leg), m.hip, front, ankle + person.sock if person.sock else 0.0]),
        "head": np.array([*m.head, m.skull]),
        "style": np.array(
            [HAIR_STYLES.index(person.hair_style), HATS.index(person.hat), 0.022, person.sandals]
        ),
        "mask": np.array([person.glasses, person.beard]),
        "strap": np.array([strap, person.bag_side, m.neck - 0.02, m.hip + 0.04]),
    }


def prop_looks(colours: tuple[Colour, Colour]) -> dict[str, np.ndarray]:
    """The shader's parameters of an object that stands in the way."""
    cloths = {name: _plain(colours[0]) for name in range(len(MATERIALS))} | {BAG: _plain(colours[1])}
    zero = np.zeros(4)
    return _looks(cloths, {PROP: 0.5}) | {
        "cut": zero,
        "cut2": zero,
        "head": np.ones(4),
        "style": zero,
        "mask": zero[:2],
        "strap": zero,
    }


def standing(x: float, y: float, yaw: float) -> np.ndarray:
    """[3,4]: at (x, y) on the ground, turned by `yaw` degrees; 0 looks at the camera."""
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, 0]], np.float32)


def _looks(cloths: dict[int, Cloth], folds: dict[int, float]) -> dict[str, np.ndarray]:
    colours = np.array([[*(np.array(c) ** 2), 1.0] for m in range(len(MATERIALS)) for c in cloths[m].colours])
    patterns = [
        [PATTERNS.index(cloths[m].pattern), cloths[m].scale, cloths[m].phase, folds.get(m, 0.25)]
        for m in range(len(MATERIALS))
    ]
    return {"colours": colours, "pattern": np.array(patterns)}


def _plain(colour: Colour) -> Cloth:
    return Cloth("solid", (colour, colour, colour), 1.0, 0.0)


def _uniform(program: moderngl.Program, name: str) -> moderngl.Uniform:
    uniform = program[name]
    assert isinstance(uniform, moderngl.Uniform), name
    return uniform


def _columns(matrix: np.ndarray) -> bytes:
    """A matrix as OpenGL reads it, column by column."""
    return np.ascontiguousarray(matrix.T, np.float32).tobytes()
