"""Many adapted sites on one model: memory, and crops a second against an engine with one folded table.

python -m benchmarks.many_sites --sites 1000 --cameras 8

Every site has a profile of random camera tables. Crops come one a request, many requests at once, from a site
and camera drawn at random each, so every batch mixes tables. `hot` draws from as few sites as have their
tables in memory anyway; `any` draws from all. The folded engine is the bundle's own, under the same requests.
The sites are made by one process and served by another, whose memory is counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from benchmarks.crops import drawn_jpegs
from reid.bundle import Bundle
from reid.images import decode_crop
from reid.profile import Profile, Table
from server.engines import Engines
from server.main import open_service
from server.settings import Settings

STARTER = Path(__file__).parents[1] / "deploy" / "starter" / "starter.resight"
_AT_ONCE = 64  # crops that wait or are embedded
_HOT = 50  # sites
_TURNS = 3  # of which the fastest counts


def name_of(site: int) -> str:
    """The name of a site by its number."""
    return f"site-{site}"


def make_sites(settings: Settings, sites: int, cameras: int) -> None:
    """Fills an empty gallery with sites that have been adapted, without items."""
    service = open_service(settings)
    engines, store = service.engines, service.store
    rng = np.random.default_rng(0)
    for number in range(sites):
        base = engines.base_profile
        tables = {f"c{camera}": _moved(base.site, rng) for camera in range(cameras)}
        profile = Profile(base.base, _moved(base.site, rng), tables, base.eps)
        store.versions.save_profile(profile)
        first = service.sites.first_version(name_of(number))
        space = engines.space(profile.id)
        adapted = dataclasses.replace(
            first,
            profile_id=profile.id,
            space_id=space,
            raw_space_id=space,
            tiers="1",
            camera_tables=cameras,
        )
        store.versions.add_site(adapted)
    service.close()


def _moved(table: Table, rng: np.random.Generator) -> Table:
    """A table with other means and variances."""
    moved = {}
    for layer, values in table.items():
        moved[layer] = values.copy()
        channels = values.shape[1]
        moved[layer][2] += 0.1 * np.sqrt(values[3]) * rng.standard_normal(channels)
        moved[layer][3] *= np.exp(0.1 * rng.standard_normal(channels))
    return moved


def serve(settings: Settings, sites: int, cameras: int, crops: int) -> dict[str, float]:
    """Opens the gallery and embeds; returns crops a second by kind, seconds to open, and peak memory."""
    began = time.perf_counter()
    service = open_service(settings)
    engines = service.engines
    rates = {"seconds to open": time.perf_counter() - began}
    profiles = [service.sites.get(name_of(number)).state.version.profile_id for number in range(sites)]
    manifest = engines.bundle.manifest
    pixels = np.stack([decode_crop(jpeg, manifest.height, manifest.width) for jpeg in drawn_jpegs(64)])
    rng = np.random.default_rng(1)
    kinds = {"folded": [engines.base_id], "hot": profiles[:_HOT], "any": profiles}
    fastest = dict.fromkeys(kinds, 0.0)
    for _ in range(_TURNS):  # in turn, so that all of them meet the same machine
        for kind, chosen in kinds.items():
            fastest[kind] = max(fastest[kind], _rate(engines, chosen, cameras, pixels, crops, rng))
    rates |= fastest
    service.close()
    # the most memory that the process ever held, which Linux counts in KiB
    rates["peak bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return rates


def _rate(
    engines: Engines,
    profiles: list[str],
    cameras: int,
    pixels: np.ndarray,
    crops: int,
    rng: np.random.Generator,
) -> float:
    """Crops a second, after some that warm up."""
    waiting: list[Future[np.ndarray]] = []
    began = time.perf_counter()
    for number in range(-_AT_ONCE, crops):
        if number == 0:
            began = time.perf_counter()
        camera = f"c{rng.integers(cameras)}"
        with engines.lease(profiles[rng.integers(len(profiles))]) as engine:
            waiting.append(engine.submit(pixels[number % len(pixels)][None], [camera]))
        if len(waiting) >= _AT_ONCE:
            waiting.pop(0).result()
    for future in waiting:
        future.result()
    return crops / (time.perf_counter() - began)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=STARTER)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--crops", type=int, default=1024, help="that each rate is measured over")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(bundle=arguments.bundle, data=Path(folder) / "data", device="cpu")
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            pool.apply(make_sites, (settings, arguments.sites, arguments.cameras))
            counts = (arguments.sites, arguments.cameras, arguments.crops)
            rates = pool.apply(serve, (settings, *counts))
    model = Bundle.load(arguments.bundle).manifest.name
    print(f"{model}: {arguments.sites} sites of {arguments.cameras} cameras")
    print(f"peak memory {rates['peak bytes'] / 1e9:.2f} GB; open after {rates['seconds to open']:.1f} s")
    for kind in ("hot", "any"):
        print(f"{kind}: {rates[kind] / rates['folded']:.2f} of the folded engine's crops a second")


if __name__ == "__main__":
    main()
