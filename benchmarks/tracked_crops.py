"""Sites with when their crops were seen, and which of these a tracker takes for one person.

On Market-1501 file names say what a track is: one person's crops of a camera without a pause of more than
five seconds; two tracks are seen together where names give one second. On rendered sites a track is a person
at a camera, and about four people chosen by chance are seen together.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.answers import Site, market, read_site, rendered
from reid.bundle import Bundle
from training.data import read_dataset

CHOICES = 20  # of the people who are labelled
FRAMES_PER_SECOND = 25  # of Market-1501's cameras
LOST_AFTER_S = 5
TOGETHER = 4  # people whom a camera of a rendered site sees in one second
_NAME = re.compile(r"_c\d+s(?P<sequence>\d+)_(?P<frame>\d+)")


class Crops(NamedTuple):
    """A site with when its crops were seen.

    Args:
        vectors: float32 [N,D]. pids, cameras: int [N]. tracks: int64 [N]. seconds: float64 [N].
    """

    site: Site
    vectors: np.ndarray
    pids: np.ndarray
    cameras: np.ndarray
    tracks: np.ndarray
    seconds: np.ndarray

    def of(self, people: np.ndarray) -> np.ndarray:
        """The rows of some people, by their columns in `site`."""
        return np.flatnonzero(np.isin(self.pids, np.unique(self.pids)[people]))


def market_crops(root: Path, bundle: Bundle, cache: Path) -> Crops:
    """Market-1501's test half, with the times of its file names."""
    vectors, pids, cameras, query = market(root, bundle, cache)
    dataset = read_dataset("market1501", root)
    seconds = []
    for record in (*dataset.query, *(record for record in dataset.gallery if record.pid > 0)):
        found = _NAME.search(record.path.name)
        assert found is not None, record.path
        # sequences lie a day apart, so that no track goes on from one to the next
        seconds.append(86_400 * int(found["sequence"]) + int(found["frame"]) / FRAMES_PER_SECOND)
    tracks = _tracks(pids, cameras, np.array(seconds))
    site = read_site("Market-1501, test half", vectors, pids, cameras, query)
    return Crops(site, vectors, pids, cameras, tracks, np.array(seconds))


def _tracks(pids: np.ndarray, cameras: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """int64 [N]: as a tracker numbers them, which loses whom it does not see for a while."""
    order = np.lexsort((seconds, cameras, pids))
    begins = np.ones(len(order), bool)
    same = (np.diff(pids[order]) == 0) & (np.diff(cameras[order]) == 0)
    begins[1:] = ~same | (np.diff(seconds[order]) > LOST_AFTER_S)
    tracks = np.empty(len(order), np.int64)
    tracks[order] = np.cumsum(begins) - 1
    return tracks


def rendered_crops(worlds: list[Path], bundle: Bundle, cache: Path) -> Crops:
    """Rendered sites as one; who is seen together is drawn."""
    vectors, pids, cameras, query = rendered(worlds, bundle, cache)
    tracks = np.unique(np.stack([pids, cameras]), axis=1, return_inverse=True)[1].ravel().astype(np.int64)
    people = np.unique(pids)
    moment = np.random.default_rng(0).integers(0, max(1, len(people) // TOGETHER), tracks.max() + 1)
    order = np.argsort(np.argsort(tracks, kind="stable"))
    seconds = 1000.0 * moment[tracks] + order % 8 / 8  # of eight crops no two at one moment
    site = read_site("rendered, all sites as one", vectors, pids, cameras, query)
    return Crops(site, vectors, pids, cameras, tracks, seconds)
