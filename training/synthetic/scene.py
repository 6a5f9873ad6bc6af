"""One crop from its factors: pose, view, light, what stands in the way, sensor."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable

import numpy as np

from training.synthetic.body import INDEX, bend, load_bodies, make_body
from training.synthetic.clothes import Figure, dress
from training.synthetic.factors import PLATES, Camera, Person, Sample, Site, garment
from training.synthetic.gait import pose
from training.synthetic.plates import make_plates
from training.synthetic.renderer import Drawn, Renderer, View, look, person_looks, prop_looks, standing
from training.synthetic.sensor import expose
from training.synthetic.things import SADDLE, SEAT, bicycle, prop, umbrella

_KEPT = 48  # figures kept on the renderer; people who stand in the way come again and again


class Scene:
    """Draws crops of one size; keeps the figures and plates that it used last."""

    def __init__(self, height: int, width: int, supersample: int = 1) -> None:
        self.size = (height, width)
        # Before the context: torch has an LLVM of its own, which crashes when Mesa's is loaded already.
        load_bodies()
        # Drawn at least at 256 rows: the sensor decides what is left of them.
        scale = max(1, -(-256 // height))
        self.renderer = Renderer(height * scale * supersample, width * scale * supersample)
        self._figures: collections.OrderedDict[object, Drawn] = collections.OrderedDict()

    def crop(
        self, person: Person, site: Site, camera: Camera, sample: Sample, who: Callable[[int], Person]
    ) -> np.ndarray:
        """uint8 [H,W,3].

        Args:
            who: the person of a number, for those who stand in the way.
        """
        return self.finish(self.clean(person, site, camera, sample, who), site, camera, sample)

    def finish(
        self, drawn: tuple[np.ndarray, float], site: Site, camera: Camera, sample: Sample
    ) -> np.ndarray:
        """A clean crop as the site's camera records it."""
        return expose(drawn[0], site, camera, sample, drawn[1], self.size)

    def clean(
        self,
        person: Person,
        site: Site,
        camera: Camera,
        sample: Sample,
        who: Callable[[int], Person],
        plates_of: Camera | None = None,
    ) -> tuple[np.ndarray, float]:
        """The crop before optics and sensor, uint8 [h,w,3], and its height against the person's.

        Args:
            plates_of: another camera, whose backgrounds to put behind the person (to test what a background
            gives away).
        """
        figure = self._person(person)
        body = _posed(figure, sample, standing(0.0, 0.0, sample.yaw))
        thing = self._with(person, figure, sample)
        points = body[:, :3]
        if thing is not None and sample.stance == "umbrella" and sample.seed % 2:
            points = np.concatenate([points, thing[1][:, :3]])  # half of the boxes take the umbrella in
        view, box = look(points, sample, self.renderer.width / self.renderer.height)
        box *= float(np.ptp(points[:, 2]) / np.ptp(body[:, 2]))  # against the person's height
        rng = np.random.default_rng((12, sample.seed))
        self._behind(site, plates_of or camera, sample, rng)
        self._passers(site, sample, view, camera, who, rng)
        self.renderer.shadow(view, 0.0, 0.0, 0.45 if site.indoor else 0.6)
        self.renderer.draw(figure, body, view, camera, sample.sun)
        if thing is not None:
            self.renderer.draw(*thing, view, camera, sample.sun)
        if sample.occluder != "none":
            self._in_the_way(sample, view, camera, who, rng)
        return self.renderer.read(), box

    def background(self, site: Site, camera: Camera, sample: Sample) -> np.ndarray:
        """uint8 [H,W,3]: the crop without anybody in it."""
        self._behind(site, camera, sample, np.random.default_rng((12, sample.seed)))
        return self.finish((self.renderer.read(), 1.0), site, camera, sample)

    def close(self) -> None:
        """Gives the renderer back."""
        self.renderer.close()

    def _behind(self, site: Site, camera: Camera, sample: Sample, rng: np.random.Generator) -> None:
        self.renderer.plates(camera.seed, lambda: make_plates(camera.seed, PLATES, camera.pitch, site.indoor))
        tall = rng.uniform(0.45, 0.85)
        wide = tall * self.renderer.width / self.renderer.height
        self.renderer.begin(
            camera.seed,
            sample.plate,
            (rng.uniform(0, 1 - wide), rng.uniform(0, 0.3 * (1 - tall)), wide, tall),
        )

    def _passers(
        self,
        site: Site,
        sample: Sample,
        view: View,
        camera: Camera,
        who: Callable[[int], Person],
        rng: np.random.Generator,
    ) -> None:
        for i, (number, aside, behind, yaw) in enumerate(sample.passers):
            other = self._person(who(number))
            phase, stance = float(rng.random()), _on_foot(sample.stance)
            moment = dataclasses.replace(sample, seed=sample.seed + 2 + i, phase=phase, stance=stance)
            body = _posed(other, moment, standing(aside, behind, yaw))
            self.renderer.shadow(view, aside, behind, 0.4)
            self.renderer.draw(other, body, view, camera, sample.sun)

    def _with(self, person: Person, figure: Drawn, sample: Sample) -> tuple[Drawn, np.ndarray] | None:
        """The umbrella above a person, or the bicycle below, as it stands there: float32 [V,6]."""
        if sample.stance not in ("umbrella", "ride"):
            return None
        stand = standing(0.0, 0.0, sample.yaw)
        if sample.stance == "umbrella":
            top = figure.figure.measures.head[2] + 0.36
            thing = self._keep(("umbrella", person), lambda: self._thing(umbrella(top, -0.1), person.number))
        else:
            number = person.number % 24
            thing = self._keep(("bicycle", number), lambda: self._thing(bicycle(), number))
            pelvis = figure.figure.joints[INDEX["pelvis"]]
            stand[:, 3] += stand[:, 1] * (pelvis[1] - SADDLE)
        return thing, thing.figure.posed(bend(thing.figure.joints, {}), stand)

    def _thing(self, figure: Figure, number: int) -> Drawn:
        rng = np.random.default_rng((15, number))
        return self.renderer.upload(figure, prop_looks(((0.25, 0.25, 0.25), garment(rng))))

    def _in_the_way(
        self,
        sample: Sample,
        view: View,
        camera: Camera,
        who: Callable[[int], Person],
        rng: np.random.Generator,
    ) -> None:
        near = -float(rng.uniform(0.5, 1.2))
        if sample.occluder == "person":
            other = self._person(who(sample.occluder_person))
            stand = standing(0.6 * sample.occluder_place, near, float(rng.uniform(0, 360)))
            moment = dataclasses.replace(
                sample, seed=sample.seed + 1, phase=float(rng.random()), stance="walk"
            )
            self.renderer.draw(other, _posed(other, moment, stand), view, camera, sample.sun)
            return
        kind = (sample.occluder, sample.seed % 7)
        thing = self._keep(kind, lambda: self._prop(*kind))
        stand = standing(0.4 * sample.occluder_place, near, 0.0)
        self.renderer.draw(thing, thing.figure.posed(bend(thing.figure.joints, {}), stand), view, camera)

    def _prop(self, kind: str, number: int) -> Drawn:
        rng = np.random.default_rng((13, number))
        green = (0.26, 0.30 + 0.14 * rng.random(), 0.18)
        colours = (green, green) if kind == "plant" else (garment(rng), garment(rng))
        return self.renderer.upload(prop(kind, number), prop_looks(colours))

    def _person(self, person: Person) -> Drawn:
        def make() -> Drawn:
            figure = dress(person, make_body(person))
            return self.renderer.upload(figure, person_looks(person, figure))

        return self._keep(person, make)

    def _keep(self, key: object, make: Callable[[], Drawn]) -> Drawn:
        if key in self._figures:
            self._figures.move_to_end(key)
            return self._figures[key]
        self._figures[key] = made = make()
        if len(self._figures) > _KEPT:
            self._figures.popitem(last=False)[1].release()
        return made


def _posed(drawn: Drawn, sample: Sample, stand: np.ndarray) -> np.ndarray:
    """float32 [V,6] of a figure in the pose of a moment, its lowest point on the ground or on a saddle."""
    body = drawn.figure.posed(bend(drawn.figure.joints, pose(sample, drawn.figure.joints)), stand)
    if sample.stance == "ride":
        body[:, 2] += SEAT + 0.06 - drawn.figure.joints[INDEX["pelvis"]][2]
    else:
        body[:, 2] -= body[:, 2].min()
    return body


def _on_foot(stance: str) -> str:
    """A stance of people who have neither umbrella nor bicycle with them."""
    return "walk" if stance in ("umbrella", "ride") else stance
