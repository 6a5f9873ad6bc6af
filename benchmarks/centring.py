"""Tier 0 for a large site, in units of reading its stored embeddings once.

python -m benchmarks.centring --items 100000

The embeddings are random unit vectors of eight cameras, and no images are kept: tier 0 needs none. What is
compared is processor time, of this process alone, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.query import SITE, fill
from benchmarks.serving import DEMO
from server.gallery.indexes import Indexes
from server.job import ENDED
from server.main import open_service
from server.service import Service
from server.settings import Settings

_TURNS = 5  # of which the fastest counts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--items", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(bundle=arguments.bundle, data=Path(folder) / "data", device="cpu")
        service = open_service(settings)
        raw_space, dim = (
            service.engines.raw_space(service.engines.base_id),
            service.engines.bundle.manifest.dim,
        )
        service.sites.get_or_create(SITE)
        service.close()
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((arguments.items, dim), np.float32)
        fill(settings.data, raw_space, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        service = open_service(settings)
        seconds: dict[str, list[float]] = defaultdict(list)
        for turn in range(_TURNS):  # in turn, so that all of them meet the same machine
            seconds["reading"].append(_read(service, raw_space))
            seconds["reading and indexing, as at a start"].append(_open(service))
            for name, gate in (("tier 0, not judged", False), ("tier 0, judged", True)):
                began = time.process_time()
                state = _adapt(service, gate, turn)
                seconds[f"{name}, {state}"].append(time.process_time() - began)
                _adapt(service, gate, turn, tier="none")
        print(f"{arguments.items} items of {dim} values; in units of reading them once")
        for name, each in seconds.items():
            print(f"{name:40} {min(each) / min(seconds['reading']):6.2f}")
        service.close()


def _read(service: Service, raw_space: str) -> float:
    """Processor seconds to read every embedding of the site."""
    began = time.process_time()
    for _ in service.store.embeddings.of_site(SITE, raw_space):
        pass
    return time.process_time() - began


def _open(service: Service) -> float:
    """Processor seconds to read every embedding of the site into an index."""
    began = time.process_time()
    Indexes().open(service.store, service.sites.get(SITE).state.version, None)
    return time.process_time() - began


def _adapt(service: Service, gate: bool, seed: int, tier: str = "0") -> str:
    """Runs an adaptation to its end; returns the state it ended in."""
    job = asyncio.run(service.adapting.adapt(SITE, tier, seed=seed, gate=gate))
    while job.state not in ENDED:
        time.sleep(0.02)
        job = service.jobs.get(job.id)
    return job.state


if __name__ == "__main__":
    main()
