"""What trackers say of who is who: crops of one track are one person, and crops of two tracks of one camera
in one second are two. Both come without anybody's work, but from one camera alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LONGEST_PAUSE_S = 300  # of one track; trackers count from 1 again when they are started again
MOST_IN_A_SECOND = 32  # tracks of one camera; more are no people who stood before it together
_MOST_SCORES = 200_000  # of different people, that are returned
_BLOCK = 512  # crops whose scores are in memory at once


class Pairs(NamedTuple):
    """Cosines of pairs. Those of one asker stand or fall together: they are not independent.

    Args:
        scores: float32 [P].
        askers: int [P], the number of the track or person for which each pair was looked up.
    """

    scores: np.ndarray
    askers: np.ndarray


def tracks_of(
    cameras: Sequence[str | None], marks: Sequence[str | float | None], times: Sequence[float | None]
) -> np.ndarray:
    """int64 [N]: a number for the track of each crop, from 0; -1 where it has none.

    Crops of one camera and mark are one track, as long as no pause between them is longer than
    `LONGEST_PAUSE_S`: a number that comes again after it is somebody else. So a crop without a time has no
    track.

    Args:
        cameras, marks, times: of each crop; a mark is what the camera's tracker calls the track, a time is in
            seconds.
    """
    rows_of: dict[tuple[str, str | float], list[tuple[float, int]]] = defaultdict(list)
    for row, (camera, mark, time) in enumerate(zip(cameras, marks, times, strict=True)):
        if camera and mark is not None and time is not None:
            rows_of[camera, mark].append((time, row))
    tracks = np.full(len(cameras), -1, np.int64)
    number = -1
    for seen in rows_of.values():
        last = -np.inf
        for time, row in sorted(seen):
            number += time - last > LONGEST_PAUSE_S
            tracks[row], last = number, time
    return tracks


def one_name_each(
    tracks: np.ndarray, names: Sequence[str | None]
) -> tuple[np.ndarray, list[str | None], int]:
    """(tracks int64 [N], names [N], how many tracks contradict): a crop without a name has that of its track,
    and who is in a track that bears two names has no track."""
    of_track: dict[int, set[str]] = defaultdict(set)
    for track, name in zip(tracks.tolist(), names, strict=True):
        if track >= 0 and name:
            of_track[track].add(name)
    torn = {track for track, found in of_track.items() if len(found) > 1}
    kept = np.where(np.isin(tracks, sorted(torn)), -1, tracks)
    named = []
    for track, name in zip(kept.tolist(), names, strict=True):
        found = of_track.get(track)
        named.append(next(iter(found)) if not name and found else name)
    return kept, named, len(torn)


def same_track(vectors: np.ndarray, tracks: np.ndarray, times: np.ndarray) -> Pairs:
    """Each crop with the one of its track that is farthest from it in time: crops of one moment are nearly
    one picture, and say nothing of how alike two views of a person are.

    Args:
        vectors: float32 [N,D], unit length, as they are compared. tracks: int64 [N], as of `tracks_of`.
        times: float64 [N], seconds.
    """
    scores: list[float] = []
    askers: list[int] = []
    for track, rows in _rows_of(tracks).items():
        if times[rows].max() > times[rows].min():
            first, last = rows[times[rows].argmin()], rows[times[rows].argmax()]
            far = np.where(times[rows] - times[first] > times[last] - times[rows], first, last)
            scores += np.einsum("nd,nd->n", vectors[rows], vectors[far]).tolist()
            askers += [track] * len(rows)
    return Pairs(np.array(scores, np.float32), np.array(askers, np.int64))


def same_second(
    vectors: np.ndarray,
    tracks: np.ndarray,
    cameras: Sequence[str | None],
    times: np.ndarray,
    names: Sequence[str | None],
) -> tuple[Pairs, int]:
    """Each crop with the best one of every other track that its camera saw in the same second, and of how
    many pairs of tracks that are. Two tracks that bear one name are none: the tracker lost its person.
    A second of more than MOST_IN_A_SECOND tracks at one camera is left out: its times are days or minutes.

    Args:
        vectors, tracks, times: as of `same_track`. cameras, names: of each crop; a name may be empty or None.
    """
    moments: dict[tuple[str | None, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero(tracks >= 0).tolist():
        moments[cameras[row], int(np.floor(times[row]))].append(row)
    rows_of = _rows_of(tracks)
    scores: list[float] = []
    askers: list[int] = []
    met: set[tuple[int, int]] = set()
    for rows in moments.values():
        name_of = {int(tracks[row]): names[row] for row in rows}
        if len(name_of) > MOST_IN_A_SECOND:
            continue
        for row in rows:
            own = int(tracks[row])
            for other, name in name_of.items():
                if other != own and (not name or name != name_of[own]):
                    scores.append(float((vectors[rows_of[other]] @ vectors[row]).max()))
                    askers.append(own)
                    met.add((min(own, other), max(own, other)))
    return Pairs(np.array(scores, np.float32), np.array(askers, np.int64)), len(met)


def same_name(vectors: np.ndarray, persons: np.ndarray, cameras: np.ndarray) -> Pairs:
    """Each crop with the best one of its person at other cameras, where there is one.

    Args:
        vectors: float32 [N,D], unit length, as they are compared. persons, cameras: int [N], numbers.
    """
    scores: list[float] = []
    askers: list[int] = []
    for person, rows in _rows_of(persons).items():
        of_person = vectors[rows] @ vectors[rows].T
        of_person[cameras[rows][:, None] == cameras[rows]] = -np.inf
        best = of_person.max(1)
        best = best[np.isfinite(best)]
        scores += best.tolist()
        askers += [person] * len(best)
    return Pairs(np.array(scores, np.float32), np.array(askers, np.int64))


def other_names(vectors: np.ndarray, persons: np.ndarray, queries: np.ndarray) -> Pairs:
    """Each query with the best crop of every other person; of too many, at equal distances.

    Args:
        vectors, persons: as of `same_name`. queries: int [Q], rows.
    """
    order = np.argsort(persons, kind="stable")
    people, starts = np.unique(persons[order], return_index=True)
    scores: list[np.ndarray] = []
    askers: list[np.ndarray] = []
    step = max(1, -(-len(queries) * (len(people) - 1) // _MOST_SCORES))
    for start in range(0, len(queries), _BLOCK):
        rows = queries[start : start + _BLOCK]
        best = np.maximum.reduceat(vectors[rows] @ vectors[order].T, starts, axis=1)  # [B,P]
        others = persons[rows, None] != people
        scores.append(best[others][::step])
        askers.append(np.broadcast_to(persons[rows, None], best.shape)[others][::step])
    if not scores:
        return Pairs(np.empty(0, np.float32), np.empty(0, np.int64))
    return Pairs(np.concatenate(scores), np.concatenate(askers))


def _rows_of(groups: np.ndarray) -> dict[int, np.ndarray]:
    """The rows of each group; -1 is none."""
    order = np.argsort(groups, kind="stable")
    found, starts = np.unique(groups[order], return_index=True)
    parts = np.split(order, starts[1:]) if len(order) else []
    return {int(group): rows for group, rows in zip(found, parts, strict=True) if group >= 0}
