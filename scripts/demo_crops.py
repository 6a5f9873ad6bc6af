"""Lays out the crops of `make demo`, one site, from a rendered world: who has a name, who has none, who is a
stranger.

resight synth --out WORLD --identities 180 --sites 1 --cameras 4 --images 3 --seed 7 --size 192x96
python scripts/demo_crops.py WORLD deploy/demo/crops

gallery/    72 people with their names (PERSON_CAMERA_SECONDS.jpg), at four cameras over one day
unnamed/    72 people of the same day whom nobody has named (CAMERA_SECONDS.jpg)
query/      other crops of those with names, to be found
again/      other crops of 8 people without a name, to be known again
strangers/  crops of 8 people who are in neither: the answer is nobody
"""

from __future__ import annotations

import random
import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path

NAMED, UNNAMED, AGAIN, STRANGERS = 72, 72, 8, 8
_EACH = 2  # crops of somebody without a name at one camera, as many as the others have
_MORNING = 1_780_300_800  # 2026-06-01 08:00 UTC, in seconds
_DAY_S = 10 * 3600
_VISIT_S, _STEP_S, _LATER_S = 240, 7, 3600  # between cameras, between crops, and until a query
_NAME = re.compile(r"(?P<person>\d+)_c(?P<camera>\d)s1_")


def lay_out(world: Path, out: Path) -> None:
    """Copies the crops of the world's only site under their names here. Exits where they are too few."""
    site = world / "site-0"
    parts = ("query", "bounding_box_test", "bounding_box_train")
    crops: dict[str, dict[str, list[Path]]] = {part: defaultdict(list) for part in parts}
    for part, by_person in crops.items():
        for path in sorted((site / part).glob("*.jpg")):
            match = _NAME.match(path.name)
            if match is not None and int(match["person"]) > 0:  # 0 is a distractor
                by_person[match["person"]].append(path)
    people, others = sorted(crops["query"]), sorted(crops["bounding_box_train"])
    for part, seen, needed in (
        ("query", people, NAMED),
        ("bounding_box_train", others, UNNAMED + STRANGERS),
    ):
        if len(seen) < needed:
            sys.exit(f"{site} shows {len(seen)} people in {part}, and {needed} are needed")
    for folder in ("gallery", "unnamed", "query", "again", "strangers"):
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir(parents=True)
    rng = random.Random(0)
    for person in people[:NAMED]:
        arrived = _MORNING + rng.randrange(_DAY_S)
        _copy(crops["bounding_box_test"][person], out / "gallery", f"{person}_", arrived)
        _copy(crops["query"][person][::2], out / "query", f"{person}_", arrived + _LATER_S)
    for number, person in enumerate(others[: UNNAMED + STRANGERS]):
        arrived = _MORNING + rng.randrange(_DAY_S)
        by_camera: dict[str, list[Path]] = defaultdict(list)
        for path in crops["bounding_box_train"][person]:
            by_camera[_camera_of(path)].append(path)
        some = [path for paths in by_camera.values() for path in paths[:_EACH]]
        if number < UNNAMED:
            _copy(some, out / "unnamed", "", arrived)
            if number < AGAIN:
                _copy(by_camera["1"][_EACH:], out / "again", "", arrived + _LATER_S)
        else:
            _copy(some[:1], out / "strangers", f"{person}_", arrived)


def _copy(paths: list[Path], folder: Path, before: str, arrived: int) -> None:
    """Crops of one person, who passes one camera after the other."""
    for place, path in enumerate(paths):
        camera = _camera_of(path)
        seconds = arrived + int(camera) * _VISIT_S + place * _STEP_S
        target = folder / f"{before}c{camera}_{seconds}.jpg"
        assert not target.exists()
        shutil.copyfile(path, target)


def _camera_of(path: Path) -> str:
    match = _NAME.match(path.name)
    assert match is not None
    return match["camera"]


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), Path(sys.argv[2]))
