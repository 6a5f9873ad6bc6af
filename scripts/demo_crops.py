"""Lays out the crops of `make demo` from a rendered world: who has a name, who has none, who is a stranger.

resight synth --out WORLD --identities 180 --sites 1 --cameras 4 --images 3 --seed 7 --size 192x96
python scripts/demo_crops.py WORLD deploy/demo/crops

gallery/    40 people with their names (PERSON_CAMERA_SECONDS.jpg), at four cameras over one day
unnamed/    24 people of the same day whom nobody has named (CAMERA_SECONDS.jpg)
query/      other crops of the 40, to be found
strangers/  crops of 8 people who are in neither: the answer is nobody
"""

from __future__ import annotations

import random
import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path

NAMED, UNNAMED, STRANGERS = 40, 24, 8
_MORNING = 1_780_300_800  # 2026-06-01 08:00 UTC, in seconds
_DAY_S = 10 * 3600
_VISIT_S, _STEP_S, _LATER_S = 240, 7, 3600  # between cameras, between crops, and until a query
_NAME = re.compile(r"(?P<person>\d+)_c(?P<camera>\d)s1_")


def lay_out(world: Path, out: Path) -> None:
    """Copies the crops of the world's only site under their names here. Exits where they are too few."""
    site = world / "site-0"
    crops: dict[str, dict[str, list[Path]]] = {
        "query": defaultdict(list),
        "bounding_box_test": defaultdict(list),
    }
    for part, by_person in crops.items():
        for path in sorted((site / part).glob("*.jpg")):
            match = _NAME.match(path.name)
            if match is not None and int(match["person"]) > 0:  # 0 is a distractor
                by_person[match["person"]].append(path)
    people = sorted(crops["query"])
    if len(people) < NAMED + UNNAMED + STRANGERS:
        sys.exit(f"{site} shows {len(people)} people in query, and {NAMED + UNNAMED + STRANGERS} are needed")
    for folder in ("gallery", "unnamed", "query", "strangers"):
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir(parents=True)
    rng = random.Random(0)
    for number, person in enumerate(people[: NAMED + UNNAMED + STRANGERS]):
        arrived = _MORNING + rng.randrange(_DAY_S)
        queries, gallery = crops["query"][person], crops["bounding_box_test"][person]
        if number < NAMED:
            _copy(gallery, out / "gallery", f"{person}_", arrived)
            _copy(queries[::2], out / "query", f"{person}_", arrived + _LATER_S)
        elif number < NAMED + UNNAMED:
            _copy(gallery, out / "unnamed", "", arrived)
        else:
            _copy(queries[::4], out / "strangers", f"{person}_", arrived)


def _copy(paths: list[Path], folder: Path, before: str, arrived: int) -> None:
    """Crops of one person, who passes one camera after the other."""
    for place, path in enumerate(paths):
        match = _NAME.match(path.name)
        assert match is not None
        seconds = arrived + int(match["camera"]) * _VISIT_S + place * _STEP_S
        target = folder / f"{before}c{match['camera']}_{seconds}.jpg"
        assert not target.exists()
        shutil.copyfile(path, target)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), Path(sys.argv[2]))
