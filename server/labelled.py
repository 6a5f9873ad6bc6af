"""What the items of a site say of who is who: names, and tracks of its cameras."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from reid.tracklets import one_name_each, tracks_of
from server.gallery.store import Store

MOST_COMPARED = 8192  # items of a site by which a calibration is measured
MOST_OF_A_PERSON = 128  # of these, so that nobody takes the room of the others
# float32 [N,D] as embedded, the camera of each -> float32 [N,D], unit length, to be compared
Compare = Callable[[np.ndarray, Sequence[str | None]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Seen:
    """Items that say whom they show, or at least that it is the same person.

    Args:
        seqs: int64 [N]. vectors: float32 [N,D], unit length, as they are compared. names, cameras: [N]; a
            name is empty where nobody has given one.
        tracks: int64 [N], -1 where an item has none. times: float64 [N], seconds; 0 where there is no track.
        torn: tracks that bear two names, which are not used.
    """

    seqs: np.ndarray
    vectors: np.ndarray
    names: list[str]
    cameras: list[str]
    tracks: np.ndarray
    times: np.ndarray
    torn: int

    @property
    def tracks_named(self) -> int:
        """How many tracks there are."""
        return len(np.unique(self.tracks[self.tracks >= 0]))


def read(store: Store, site: str, raw_space_id: str, compare: Compare, with_tracks: bool) -> Seen:
    """Items that have a name and a camera: of too many, some people.

    Args:
        with_tracks: whether an item without a name has that of its track.
    """
    if not store.items.any_identity(site):
        return _chosen(store, raw_space_id, compare, _Labels.none(), [])
    labels = _labels(store, site, with_tracks)
    return _chosen(store, raw_space_id, compare, labels, _rows_of_people(labels.names, labels.cameras))


def read_tracks(store: Store, site: str, raw_space_id: str, compare: Compare) -> Seen:
    """Items that have a track: of too many, the newest, which are near each other in time."""
    labels = _labels(store, site, with_tracks=True)
    rows = np.flatnonzero(labels.tracks >= 0).tolist()
    return _chosen(store, raw_space_id, compare, labels, rows[-MOST_COMPARED:])


@dataclasses.dataclass(frozen=True)
class _Labels:
    """Of every item of a site."""

    seqs: np.ndarray
    names: list[str | None]
    cameras: list[str | None]
    tracks: np.ndarray
    times: np.ndarray
    torn: int

    @classmethod
    def none(cls) -> _Labels:
        """Of no item."""
        return cls(np.empty(0, np.int64), [], [], np.empty(0, np.int64), np.empty(0), 0)


def _labels(store: Store, site: str, with_tracks: bool) -> _Labels:
    seqs, cameras, names = store.items.labels(site, with_image=False)
    tracks, times, torn = np.full(len(seqs), -1, np.int64), np.zeros(len(seqs)), 0
    if with_tracks:
        place = {seq: row for row, seq in enumerate(seqs.tolist())}
        marks: list[str | float | None] = [None] * len(seqs)
        for seq, captured_at, mark in store.items.tracks(site):
            if seq in place:  # enrolled a moment ago otherwise
                marks[place[seq]], times[place[seq]] = mark, captured_at
        tracks = tracks_of(cameras, marks, times.tolist())
        tracks, names, torn = one_name_each(tracks, names)
    return _Labels(seqs, names, cameras, tracks, times, torn)


def _chosen(store: Store, raw_space_id: str, compare: Compare, labels: _Labels, rows: Sequence[int]) -> Seen:
    """Those of some rows that are embedded."""
    held, vectors = store.embeddings.vectors(labels.seqs[list(rows)].tolist(), raw_space_id)
    rows = [rows[place] for place in held]
    names, cameras = ([values[row] or "" for row in rows] for values in (labels.names, labels.cameras))
    compared = compare(vectors, cameras) if rows else vectors
    return Seen(
        labels.seqs[rows], compared, names, cameras, labels.tracks[rows], labels.times[rows], labels.torn
    )


def _rows_of_people(identities: Sequence[str | None], cameras: Sequence[str | None]) -> list[int]:
    """At most MOST_COMPARED rows with an identity and a camera: people at equal distances in the order in
    which they were first enrolled where there are too many, each by MOST_OF_A_PERSON rows at most."""
    of_person: dict[str, list[int]] = defaultdict(list)
    for row, (identity, camera) in enumerate(zip(identities, cameras, strict=True)):
        if identity and camera:
            of_person[identity].append(row)
    people = [rows[:: -(-len(rows) // MOST_OF_A_PERSON)] for rows in of_person.values()]
    step = max(1, -(-sum(map(len, people)) // MOST_COMPARED))
    chosen: list[int] = []
    for rows in people[::step]:
        if len(chosen) + len(rows) <= MOST_COMPARED:
            chosen += rows
    return chosen
