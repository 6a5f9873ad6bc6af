"""Which crops of a site an adaptation looks at: put in order first, then read until there are enough."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from reid.adaptation.sampling import MIN_CROPS, Thumbnails, balanced_order
from server.embedding import Embedding
from server.gallery.store import Store
from server.job import Declined

_AT_ONCE = 16  # stored images in memory


@dataclasses.dataclass
class Sample:
    """Crops in a file: uint8 [N,H,W,3], one after the other."""

    path: Path
    cameras: list[str | None]  # of each crop
    identities: list[str | None]  # of each crop
    seqs: list[int]  # of the item of each crop
    candidates: int  # crops there were to choose from

    @property
    def counts(self) -> dict[str, int]:
        """Crops of each camera."""
        return count_by_camera(self.cameras)


def count_by_camera(cameras: Sequence[str | None]) -> dict[str, int]:
    """How many there are of each camera; those without one under an empty name."""
    return dict(sorted(Counter(camera or "" for camera in cameras).items()))


def require_different(count: int, candidates: int) -> None:
    """Raises Declined where too few of a site's crops differ from each other."""
    if count < MIN_CROPS:
        raise Declined(
            f"only {count} of {candidates} crops differ from each other; an adaptation needs {MIN_CROPS}"
        )


def write_sample(
    store: Store,
    embedding: Embedding,
    site: str,
    most: int,
    seed: int,
    path: Path,
    progress: Callable[[float], None],
    only: np.ndarray | None = None,
) -> Sample:
    """Writes at most `most` crops of a site into a file: cameras take turns, near-duplicates are dropped.

    Args:
        progress: called with the share done; what it raises stops the sampling.
        only: int64 seqs: no other items.

    Raises Conflict where a stored image no longer decodes, OSError where the disk is full.
    """
    seqs, cameras, identities = store.items.labels(site, with_image=True)
    if only is not None:
        rows = np.flatnonzero(np.isin(seqs, only))
        seqs, cameras, identities = seqs[rows], [cameras[i] for i in rows], [identities[i] for i in rows]
    order = balanced_order(cameras, seed)
    seen, sample = Thumbnails(), Sample(path, [], [], [], len(order))
    with path.open("wb") as file:
        for start in range(0, len(order), _AT_ONCE):
            progress(max(start / len(order), len(sample.cameras) / most))
            chunk = order[start : start + _AT_ONCE]
            images = store.items.images([int(seqs[i]) for i in chunk])
            for i in chunk:
                seq = int(seqs[i])
                if seq not in images:  # erased meanwhile
                    continue
                crop = embedding.decode_stored(images[seq], f"number {seq}")
                if seen.is_new(crop, cameras[i]):
                    file.write(crop.tobytes())
                    sample.cameras.append(cameras[i])
                    sample.identities.append(identities[i])
                    sample.seqs.append(seq)
                    if len(sample.cameras) == most:
                        return sample
    return sample
