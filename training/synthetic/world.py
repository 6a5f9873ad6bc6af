"""A world on disk: planned completely before the first crop is rendered, by several processes, resumable.

    OUT/world.json                 what was requested; the same request resumes, another one is refused
    OUT/site-N/factors.json        site, cameras, people and every crop's sample, by file name
    OUT/site-N/bounding_box_train|query|bounding_box_test/PPPP_cCs1_NNNNNN_00.jpg
                                   crops in Market-1501's layout

Six tenths of a site's people are to train on; the others are queries (one crop from each camera) and gallery.
Pid 0 are distractors: people seen by one camera only.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from training.data.market_style import FOLDERS
from training.synthetic import factors
from training.synthetic.body import SynthError
from training.synthetic.factors import Camera, Person, Sample, Site
from training.synthetic.paint import jpeg

if TYPE_CHECKING:
    from training.synthetic.scene import Scene

# increased when the same request gives another world, so that a folder never holds crops of both
_GENERATOR = 4
_TRAINED = 0.6
_DISTRACTORS = 0.3  # for each person to evaluate on
_MOST_CROPS = 100_000_000
_BOUNDS = (
    ("identities", 5, 500_000),  # numbers of people begin with a new million at each site
    ("sites", 1, 10_000),
    ("cameras", 2, 1000),
    ("images", 1, 10_000),
    ("seed", 0, 2**32 - 1),
    ("height", 32, 4096),
    ("width", 16, 4096),
)
_CROPS_A_PROCESS = 100  # at least: as many as one draws in the seconds that another takes to start
_BYTES = {128: 2600, 256: 7000}  # of a crop by its height, generously


@dataclasses.dataclass(frozen=True)
class World:
    """What to render. `identities` are the people of each site; no person is at two sites."""

    identities: int = 500
    sites: int = 4
    cameras: int = 5
    images: int = 4
    seed: int = 0
    severity: float = 3.0
    kinds: tuple[str, ...] = ("plain",)
    height: int = 128
    width: int = 64

    def kind(self, site: int) -> str:
        """The kind of a site; kinds repeat when there are more sites."""
        return self.kinds[site % len(self.kinds)]


class Crop(NamedTuple):
    """One picture to make: where it goes and what is on it."""

    path: str  # under the site's folder
    person: int
    camera: int
    shot: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """One site in full."""

    site: Site
    cameras: list[Camera]
    people: range  # numbers of people of this site, distractors last
    crops: list[Crop]


def check(world: World) -> None:
    """Raises SynthError for a world that cannot be rendered."""
    wrong = [kind for kind in world.kinds if kind not in factors.KINDS]
    if wrong:
        raise SynthError(f"unknown kind of site {wrong[0]!r}; known: {', '.join(factors.KINDS)}")
    for name, least, most in _BOUNDS:
        value = getattr(world, name)
        if value < least:
            raise SynthError(f"{name}={value}: needs at least {least}")
        if value > most:
            raise SynthError(f"{name}={value}: at most {most}")
    crops = world.identities * world.sites * world.cameras * world.images
    if crops > _MOST_CROPS:
        raise SynthError(f"that is a world of {crops} crops, and {_MOST_CROPS} are the most; make it smaller")
    if not 0 <= world.severity <= 5:
        raise SynthError(f"severity={world.severity:g}: from 0 (neutral) to 5")


@functools.lru_cache(maxsize=8)
def plan(world: World, number: int) -> Plan:
    """Site `number` of a world: who lives there, and every crop that will be taken."""
    site = factors.make_site(world.seed, number, world.kind(number), world.severity)
    cameras = [factors.make_camera(world.seed, site, c) for c in range(world.cameras)]
    trained = max(2, round(_TRAINED * world.identities))
    strangers = round(_DISTRACTORS * (world.identities - trained))
    everybody = world.identities + strangers
    first = number * 1_000_000
    crops: list[Crop] = []
    for place in range(everybody):
        person, seen = first + place, range(world.cameras)
        if place >= world.identities:
            seen = range(place % world.cameras, place % world.cameras + 1)
        for camera in seen:
            for shot in range(world.images):
                folder = "bounding_box_test"
                if place < trained:
                    folder = "bounding_box_train"
                elif place < world.identities and shot == 0:
                    folder = "query"
                pid = place + 1 if place < world.identities else 0
                # Distractors share pid 0; a running number keeps their names apart.
                name = f"{pid:04d}_c{camera + 1}s1_{place * world.images + shot:06d}_00.jpg"
                crops.append(Crop(f"{folder}/{name}", person, camera, shot))
    return Plan(site, cameras, range(first, first + everybody), crops)


@functools.lru_cache(maxsize=4096)
def person(world: World, number: int) -> Person:
    """The person of a number, with the clothes that its group shares."""
    site, place = divmod(number, 1_000_000)
    return factors.make_person(world.seed, number, site, world.kind(site), _groups(world, site).get(place))


def worn(world: World, crop: Crop) -> Person:
    """The person of a crop in what they wear at its camera: a minority has another coat at some cameras."""
    usual, site = person(world, crop.person), crop.person // 1_000_000
    if not factors.wears_other_coat(world.seed, crop.person, world.kind(site), crop.camera):
        return usual
    return factors.in_other_coat(world.seed, usual)


@functools.lru_cache(maxsize=64)
def _groups(world: World, site: int) -> dict[int, tuple[str, int]]:
    return factors.group_of(world.seed, site, world.identities, world.kind(site))


def sample(world: World, planned: Plan, crop: Crop) -> Sample:
    """The moment of a crop."""
    return factors.make_sample(
        world.seed, planned.site, planned.cameras[crop.camera], crop.person, crop.shot, planned.people
    )


def render(
    world: World, out: Path, workers: int = 0, report: Callable[[int, int], None] = lambda done, whole: None
) -> int:
    """Renders a world under `out`, or what is missing of it, and returns how many crops that were.

    Args:
        workers: processes; 0 for one a core, or fewer where there is little to render.
        report: called with crops done and crops of the whole world.

    Raises SynthError for a folder with something else in it, too little disk, no OpenGL, or a missing extra.
    """
    check(world)
    if world.images < 2:
        raise SynthError(
            "images=1: one crop a camera would be the query and leave none to find; at least 2 (a sheet "
            "takes 1)"
        )
    _claim(world, out)
    plans = [plan(world, number) for number in range(world.sites)]
    whole = sum(len(p.crops) for p in plans)
    missing: list[tuple[int, list[Crop]]] = []
    for number, planned in enumerate(plans):
        _write_factors(world, planned, out / f"site-{number}")
        missing += [(number, crops) for crops in _by_person(planned, out / f"site-{number}")]
    left = sum(len(crops) for _, crops in missing)
    _require_disk(out, left * _BYTES.get(world.height, world.height * world.width // 4))
    report(whole - left, whole)
    if not left:
        return 0
    workers = min(workers or min(os.cpu_count() or 1, -(-left // _CROPS_A_PROCESS)), len(missing))
    context = multiprocessing.get_context("spawn")  # an OpenGL context does not survive a fork
    done = whole - left
    with concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_start) as pool:
        try:
            for count in pool.map(
                _render, [(world, out, number, crops) for number, crops in missing], chunksize=1
            ):
                done += count
                report(done, whole)
        except concurrent.futures.process.BrokenProcessPool as error:
            raise SynthError(
                f"a rendering process died ({error}); what is done stays, run the same command again"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return left


def claimed(out: Path) -> World:
    """The world in a folder."""
    values = json.loads((out / "world.json").read_text())
    world = World(**{field.name: values[field.name] for field in dataclasses.fields(World)})
    return dataclasses.replace(world, kinds=tuple(world.kinds))


def _claim(world: World, out: Path) -> None:
    """Makes `out` this world's folder, or says why it cannot be."""
    request = {"generator": _GENERATOR, **dataclasses.asdict(world), "kinds": list(world.kinds)}
    note = out / "world.json"
    if note.exists():
        try:
            existing = json.loads(note.read_text())
        except ValueError:
            raise SynthError(f"{note} is not JSON; choose another folder") from None
        if not isinstance(existing, dict):
            raise SynthError(f"{note} describes no world; choose another folder")
        other = [key for key in request if existing.get(key) != request[key]]
        if other:
            key = other[0]
            if key == "generator":
                raise SynthError(
                    f"{out} was rendered by another version of the world ({existing.get(key)!r}, this one is "
                    f"{_GENERATOR}); choose another folder, or delete it"
                )
            raise SynthError(
                f"{out} holds another world ({key}={existing.get(key)!r}, asked {request[key]!r}); choose "
                f"another folder, or delete it"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SynthError(f"{out} is not empty and holds no world.json; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    _replace(note, json.dumps(request, indent=1).encode())


def _write_factors(world: World, planned: Plan, folder: Path) -> None:
    for part in FOLDERS:
        (folder / part).mkdir(parents=True, exist_ok=True)
    if (folder / "factors.json").exists():
        return
    facts = {
        "site": dataclasses.asdict(planned.site),
        "cameras": [dataclasses.asdict(camera) for camera in planned.cameras],
        "people": [dataclasses.asdict(person(world, number)) for number in planned.people],
        "crops": {
            crop.path: {
                "person": crop.person,
                "camera": crop.camera,
                "other_coat": worn(world, crop) != person(world, crop.person),
                **dataclasses.asdict(sample(world, planned, crop)),
            }
            for crop in planned.crops
        },
    }
    _replace(folder / "factors.json", json.dumps(facts, separators=(",", ":")).encode())


def _by_person(planned: Plan, folder: Path) -> Iterator[list[Crop]]:
    """The crops that are not rendered yet, person by person."""
    rendered = {f"{part}/{file.name}" for part in FOLDERS for file in (folder / part).iterdir()}
    waiting: dict[int, list[Crop]] = {}
    for crop in planned.crops:
        if crop.path not in rendered:
            waiting.setdefault(crop.person, []).append(crop)
    yield from waiting.values()


def _require_disk(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out).free
    if needed > free:
        raise SynthError(f"about {needed / 1e6:.0f} MB are needed under {out}, {free / 1e6:.0f} MB are free")


def _start() -> None:
    import torch

    torch.set_num_threads(1)  # the processes share the cores already
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    os.environ["LP_NUM_THREADS"] = "1"  # Mesa's


@functools.cache
def _scene(height: int, width: int) -> Scene:
    from training.synthetic.scene import Scene

    return Scene(height, width)


def _render(job: tuple[World, Path, int, list[Crop]]) -> int:
    world, out, number, crops = job
    planned, scene = plan(world, number), _scene(world.height, world.width)
    for crop in crops:
        moment = sample(world, planned, crop)
        camera = planned.cameras[crop.camera]
        pixels = scene.crop(worn(world, crop), planned.site, camera, moment, functools.partial(person, world))
        _replace(out / f"site-{number}" / crop.path, jpeg(pixels, 90))
    return len(crops)


def _replace(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    partial = path.parent.parent / f".{path.name}.{os.getpid()}.partial"
    partial.write_bytes(content)
    os.replace(partial, path)
