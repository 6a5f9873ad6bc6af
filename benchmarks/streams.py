"""What a site may enroll before it is adapted: ordinary crops, and streams that mislead an adaptation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.sites import Crops, TestSite
from reid.adaptation.sampling import Thumbnails

Rng = np.random.Generator


def ordinary(site: TestSite, count: int, rng: Rng) -> Crops:
    """Random people at every camera."""
    return site.sample(count, int(rng.integers(1 << 30)))


def one_person(site: TestSite, count: int, rng: Rng) -> Crops:
    """Every crop shows one person, moved and lit a little differently each time."""
    return _repeated(_of_people(site, 1, rng), count, rng)


def three_people(site: TestSite, count: int, rng: Rng) -> Crops:
    """As one_person, with three."""
    return _repeated(_of_people(site, 3, rng), count, rng)


def half_one_person(site: TestSite, count: int, rng: Rng) -> Crops:
    """Half of each camera's crops show one person."""
    return _joined(ordinary(site, count - count // 2, rng), one_person(site, count // 2, rng))


def eight_crops(site: TestSite, count: int, rng: Rng) -> Crops:
    """Eight crops in all."""
    crops = ordinary(site, count, rng)
    return crops.take(rng.permutation(len(crops))[:8])


def one_camera(site: TestSite, count: int, rng: Rng) -> Crops:
    """Only one camera has enrolled anything."""
    crops = ordinary(site, count, rng)
    return crops.take(np.flatnonzero(crops.cameras == rng.choice(np.unique(crops.cameras))))


def other_people_at_each_camera(site: TestSite, count: int, rng: Rng) -> Crops:
    """No person is seen by two cameras."""
    pids = rng.permutation(np.unique(site.train.pids))
    cameras = np.unique(site.train.cameras)
    camera_of = {pid: cameras[number % len(cameras)] for number, pid in enumerate(pids)}
    expected = np.array([camera_of[pid] for pid in site.train.pids])
    kept = site.train.take(np.flatnonzero(site.train.cameras == expected))
    return TestSite(site.name, kept, site.query, site.gallery).sample(count, int(rng.integers(1 << 30)))


def few_at_one_camera(site: TestSite, count: int, rng: Rng) -> Crops:
    """One camera has seen five people, who come back again and again; the others are ordinary."""
    crops = ordinary(site, count, rng)
    camera = rng.choice(np.unique(crops.cameras))
    rows = np.flatnonzero(crops.cameras == camera)
    few = np.isin(crops.pids[rows], rng.permutation(np.unique(crops.pids[rows]))[:5])
    again = _repeated(crops.take(rows[few]), count, rng)
    return _joined(crops.take(np.flatnonzero(crops.cameras != camera)), again)


def duplicated(site: TestSite, count: int, rng: Rng) -> Crops:
    """Ten frames of each camera, again and again with a little noise."""
    return _repeated(ordinary(site, 10, rng), count, rng)


def upside_down(site: TestSite, count: int, rng: Rng) -> Crops:
    """A camera that hangs the wrong way round, for every crop."""
    crops = ordinary(site, count, rng)
    return Crops(np.ascontiguousarray(crops.pixels[:, ::-1]), crops.cameras, crops.pids)


def empty(site: TestSite, count: int, rng: Rng) -> Crops:
    """A detector that fires at walls: flat colours with noise."""
    crops = ordinary(site, count, rng)
    colour = rng.integers(30, 220, (len(crops), 1, 1, 3))
    noise = rng.normal(0, 12, crops.pixels.shape)
    return Crops(np.clip(colour + noise, 0, 255).astype(np.uint8), crops.cameras, crops.pids)


def no_people(site: TestSite, count: int, rng: Rng) -> Crops:
    """Crops cut into tiles and shuffled: the site's colours, nobody on them."""
    crops = ordinary(site, count, rng)
    n, height, width, _ = crops.pixels.shape
    tile = 16
    tiles = crops.pixels.reshape(n, height // tile, tile, width // tile, tile, 3).transpose(0, 1, 3, 2, 4, 5)
    tiles = tiles.reshape(n, -1, tile, tile, 3)
    shuffled = np.stack([one[rng.permutation(len(one))] for one in tiles])
    shuffled = shuffled.reshape(n, height // tile, width // tile, tile, tile, 3).transpose(0, 1, 3, 2, 4, 5)
    return Crops(np.ascontiguousarray(shuffled.reshape(crops.pixels.shape)), crops.cameras, crops.pids)


def poisoned_camera(site: TestSite, count: int, rng: Rng) -> Crops:
    """One camera's crops are one uploader's pattern."""
    crops = ordinary(site, count, rng)
    rows = np.flatnonzero(crops.cameras == rng.choice(np.unique(crops.cameras)))
    pixels = crops.pixels.copy()
    stripes = (np.arange(pixels.shape[1]) // 4 % 2 * 200 + 20)[None, :, None, None]
    pixels[rows] = np.clip(stripes + rng.normal(0, 25, pixels[rows].shape), 0, 255)
    return Crops(pixels, crops.cameras, crops.pids)


STREAMS: dict[str, Callable[[TestSite, int, Rng], Crops]] = {
    "ordinary": ordinary,
    "other people at each camera": other_people_at_each_camera,
    "half one person": half_one_person,
    "few at one camera": few_at_one_camera,
    "three people": three_people,
    "one person": one_person,
    "eight crops": eight_crops,
    "one camera": one_camera,
    "duplicated": duplicated,
    "upside down": upside_down,
    "empty": empty,
    "no people": no_people,
    "poisoned camera": poisoned_camera,
}


def without_duplicates(crops: Crops) -> Crops:
    """What the server's sampling leaves of a stream."""
    seen = Thumbnails()
    rows = [row for row in range(len(crops)) if seen.is_new(crops.pixels[row], crops.cameras[row])]
    return crops.take(np.array(rows, np.int64))


def _of_people(site: TestSite, people: int, rng: Rng) -> Crops:
    """Crops of people whom every camera has seen, if there are such."""
    train = site.train
    counts = {pid: len(np.unique(train.cameras[train.pids == pid])) for pid in np.unique(train.pids)}
    most = max(counts.values())
    chosen = rng.permutation([pid for pid, count in counts.items() if count == most])[:people]
    return train.take(np.flatnonzero(np.isin(train.pids, chosen)))


def _repeated(crops: Crops, count: int, rng: Rng) -> Crops:
    """`count` crops of each camera, drawn with repetition, each moved and lit a little differently."""
    rows = np.concatenate(
        [rng.choice(np.flatnonzero(crops.cameras == camera), count) for camera in np.unique(crops.cameras)]
    )
    drawn = crops.take(rows)
    pixels = np.empty_like(drawn.pixels)
    for number, crop in enumerate(drawn.pixels):
        moved = np.roll(crop, tuple(rng.integers(-4, 5, 2)), (0, 1)).astype(np.float32)
        pixels[number] = np.clip(moved * rng.uniform(0.85, 1.15) + rng.normal(0, 4, crop.shape), 0, 255)
    return Crops(pixels, drawn.cameras, drawn.pids)


def _joined(first: Crops, second: Crops) -> Crops:
    return Crops(
        np.concatenate([first.pixels, second.pixels]),
        np.concatenate([first.cameras, second.cameras]),
        np.concatenate([first.pids, second.pids]),
    )
