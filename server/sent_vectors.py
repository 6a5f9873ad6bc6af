"""Vectors that callers send instead of images: only of the raw space that a site's items are stored in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from server.errors import BadRequest, Conflict, Problem, Unprocessable
from server.gallery.records import Version

_SHORTEST = 1e-6  # length below which a vector has no direction
_AS_IT_IS = 1e-3  # distance from unit length that half precision may leave


def require_space(version: Version, raw_space_id: str | None) -> None:
    """Raises BadRequest where vectors do not say of which raw space they are, and Conflict for another one
    than the version's."""
    if not raw_space_id:
        raise BadRequest("vectors come without raw_space_id; send the one that they were answered with")
    if raw_space_id != version.raw_space_id:
        raise Conflict(
            f"vectors of raw space {raw_space_id[:80]!r} cannot be compared with those of site "
            f"{version.site!r}, which are of {version.raw_space_id!r} in version {version.version}; embed "
            f"their crops again"
        )


def unit_vectors(
    vectors: Sequence[np.ndarray], dim: int, partial: bool = False
) -> tuple[np.ndarray, dict[int, Problem]]:
    """float [n] each -> float32 [N,dim] of unit length of those that are usable, and the problems of the
    others by their index.

    What is of unit length already stays as it is to the last digit, so it answers as its crop does.

    Raises the first problem unless `partial`.
    """
    usable: list[np.ndarray] = []
    problems: dict[int, Problem] = {}
    for index, vector in enumerate(vectors):
        why = _why_unusable(vector, dim)
        if why is None:
            usable.append(_unit(vector))
            continue
        problems[index] = Unprocessable(f"vector {index} {why}", index=index)
        if not partial:
            raise problems[index]
    return (np.stack(usable) if usable else np.empty((0, dim), np.float32)), problems


def _why_unusable(vector: np.ndarray, dim: int) -> str | None:
    if len(vector) != dim:
        return f"has {len(vector)} numbers; the site's vectors have {dim}"
    if not np.isfinite(vector).all():
        place = int(np.flatnonzero(~np.isfinite(vector))[0])
        return f"holds {float(vector[place])} as number {place}; send finite numbers of float32"
    if _length(vector) < _SHORTEST:
        return "has length zero, so it has no direction to compare; embed its crop again"
    return None


def _unit(vector: np.ndarray) -> np.ndarray:
    length = _length(vector)
    if math.isclose(length, 1.0, abs_tol=_AS_IT_IS):
        return vector.astype(np.float32)
    return (vector.astype(np.float64) / length).astype(np.float32)


def _length(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector.astype(np.float64)))
