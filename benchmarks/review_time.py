"""How long an operator waits for the review queue: after an answer, beside a search that begins anew.

python -m benchmarks.review_time --items 10000

The vectors are random: 10 items a person, their cosines about 0.64, every second item without a name. `anew`
is what the next list costs when nothing of the last one is kept, as it was at every answer before. The
service runs in this process, without HTTP. Seconds are those of its processors, which other work on the
machine does not change.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import say_machine
from benchmarks.serving import DEMO
from server.gallery.records import NewItem
from server.main import open_service
from server.service import Service
from server.settings import Settings

SITE = "benchmark"
_EACH, _CHUNK = 10, 64  # items of a person; of one enroll
_PERSON = 0.8  # how much of an item is its person


def enroll(service: Service, items: int) -> None:
    """Fills the site."""
    rng, dim = np.random.default_rng(0), service.bundle.manifest.dim
    raw_space_id = service.sites.first_version(SITE).raw_space_id
    people = rng.standard_normal((items // _EACH, dim), np.float32)
    for start in range(0, items, _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, items))
        noise = rng.standard_normal((len(numbers), dim), np.float32)
        vectors = _PERSON * people[numbers // _EACH] + (1 - _PERSON**2) ** 0.5 * noise
        records = [
            NewItem(camera=f"c{n % 4}", identity=f"p{n // _EACH}" if n % 2 else None)
            for n in numbers.tolist()
        ]
        asyncio.run(
            service.enrolling.enroll(SITE, [], records, vectors=list(vectors), raw_space_id=raw_space_id)
        )


def listed(service: Service) -> tuple[float, list[str]]:
    """Seconds that a list takes, and the cases of it."""
    began = time.process_time()
    queue = asyncio.run(service.reviewing.page(SITE, 20))
    return time.process_time() - began, [case.case for case in queue.cases]


def answered(service: Service, answer: str) -> tuple[float, float]:
    """Seconds that an answer to the first case takes, and the list after it."""
    _, cases = listed(service)
    began = time.process_time()
    asyncio.run(service.reviewing.answer(SITE, cases[0], answer, "benchmark"))
    took = time.process_time() - began
    return took, listed(service)[0]


def anew(service: Service) -> float:
    """Seconds that a list takes when nothing is kept."""
    service.reviewing.kept.clear()
    service.clustering.kept.clear()
    return listed(service)[0]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--answers", type=int, default=10)
    options = parser.parse_args()
    say_machine()
    with tempfile.TemporaryDirectory() as name:
        settings = {"bundle": options.bundle, "data": Path(name) / "data", "device": "cpu"}
        service = open_service(Settings.model_validate(settings))
        try:
            enroll(service, options.items)
            print(f"{options.items} items: the first list of this process {listed(service)[0]:.2f} s")
            for answer in ("same", "different"):
                whole, answers, lists = [], [], []
                for _ in range(options.answers):
                    whole.append(anew(service))
                    took, following = answered(service, answer)
                    answers.append(took)
                    lists.append(following)
                before, after = float(np.median(whole)), float(np.median(lists))
                print(
                    f"{answer}: the answer {np.median(answers):.2f} s, the list after it {after:.2f} s; anew "
                    f"{before:.2f} s, ratio {after / before:.2f}"
                )
        finally:
            service.close()


if __name__ == "__main__":
    main()
