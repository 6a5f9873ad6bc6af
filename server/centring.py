"""Tier 0 alone: centres of the embeddings that the store holds already. It needs no images."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from reid.adaptation.centring import MOST_OF_CAMERA, evenly, fit_centres
from reid.adaptation.gate import judge, not_judged
from reid.adaptation.ladder import Climbed, Rung
from reid.adaptation.overview import overview
from reid.adaptation.ranks import Ranking
from reid.adaptation.sampling import balanced_order, held_out
from reid.adaptation.signals import Pool
from reid.profile import Centres, Profile
from server.gallery.records import Embedded
from server.gallery.store import Store
from server.sampling import require_different
from server.site_tools import SiteTools

MOST_JUDGED = 1024  # embeddings that the gate looks at: its work grows with their square


@dataclasses.dataclass(frozen=True)
class StoredSample:
    """Some embeddings of a site: seqs int64 [N], vectors float32 [N,D], and camera and identity of each."""

    seqs: np.ndarray
    vectors: np.ndarray
    cameras: list[str | None]
    identities: list[str | None]
    candidates: int  # embeddings there were to choose from

    def take(self, rows: np.ndarray) -> StoredSample:
        """Some of them, by row."""
        return StoredSample(
            self.seqs[rows],
            self.vectors[rows],
            [self.cameras[row] for row in rows],
            [self.identities[row] for row in rows],
            self.candidates,
        )


def read_sample(store: Store, site: str, raw_space: str, most: int, seed: int) -> StoredSample:
    """At most `most` embeddings, no two alike: cameras take turns."""
    seqs, cameras, identities = store.items.labels(site, with_image=False)
    order = balanced_order(cameras, seed)
    chosen: list[int] = []
    vectors: list[np.ndarray] = []
    seen: set[bytes] = set()
    for start in range(0, len(order), most):
        rows = order[start : start + most]
        found = store.embeddings.some([int(seqs[row]) for row in rows], raw_space)
        for row in rows:
            data = found.get(int(seqs[row]))
            if data is not None and data not in seen and len(chosen) < most:
                seen.add(data)
                chosen.append(row)
                vectors.append(np.frombuffer(data, "<f2"))
        if len(chosen) == most:
            break
    return StoredSample(
        seqs[chosen],
        np.stack(vectors).astype(np.float32) if vectors else np.empty((0, 0), np.float32),
        [cameras[row] for row in chosen],
        [identities[row] for row in chosen],
        len(order),
    )


def fit_stored_centres(stored: Sequence[Embedded], check: Callable[[], None]) -> Centres:
    """The centres of a site's embeddings in a raw space; of a camera with many, those at equal distances in
    the order of enrolling count.

    Args:
        stored: all of them, in chunks.
        check: called between chunks; what it raises stops the computation.

    Raises ValueError where there is none.
    """
    places: dict[str | None, list[tuple[int, int]]] = defaultdict(list)  # chunk, row
    chunks = list(stored)
    for number, chunk in enumerate(chunks):
        for row, camera in enumerate(chunk.cameras):
            places[camera].append((number, row))
    vectors: list[np.ndarray] = []
    cameras: list[str | None] = []
    for camera, of_camera in places.items():
        check()
        for place in evenly(np.arange(len(of_camera)), MOST_OF_CAMERA):
            number, row = of_camera[place]
            vectors.append(chunks[number].vectors[row])
            cameras.append(camera)
    counts = {camera: len(of_camera) for camera, of_camera in places.items()}
    return fit_centres(np.array(vectors), cameras, counts)


def climb_centring(
    sample: StoredSample,
    gate: bool,
    base: Profile,
    tools: SiteTools,
    views_of: Callable[[StoredSample], np.ndarray],
) -> Climbed:
    """The ladder's first rung alone, judged by embeddings with the bundle's own tables.

    Args:
        views_of: uint8 [M,H,W,3], other views of the crops behind embeddings: none where these are not kept.
    """
    began = time.perf_counter()
    require_different(len(sample.seqs), sample.candidates)
    held, fit = held_out(sample.cameras)
    rows = np.concatenate([held, fit])
    fitted, pool = sample.take(fit), sample.take(rows)
    profile = base.with_centres(fit_centres(fitted.vectors, fitted.cameras))
    compared = ranks = None
    if not gate:
        verdict = not_judged()
    else:
        shown = views_of(sample.take(held))
        seen = tools.embed(base, shown, pool.cameras[: len(shown)])
        before = Pool(pool.vectors, seen, pool.cameras)
        after = Pool(
            profile.compare(pool.vectors, pool.cameras),
            profile.compare(seen, pool.cameras[: len(seen)]),
            pool.cameras,
        )
        verdict = judge("0", before, after, fitted.cameras, pool.identities)
        compared = overview(pool.vectors, pool.vectors, after.vectors, pool.cameras)
        ranking = Ranking(rows, len(held), pool.identities, pool.cameras, len(shown))
        ranking.add("0", before, after)
        ranks = ranking.result()
    rung = Rung("0", "none", verdict, time.perf_counter() - began)
    if verdict.accepted:
        return Climbed(profile, "0", [rung], compared, ranks)
    return Climbed(base, "none", [rung], compared, ranks)
