"""What the gallery holds, as values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class NewItem:
    """A crop about to be enrolled."""

    camera: str | None = None
    identity: str | None = None
    captured_at: float | None = None  # seconds since 1970, UTC
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EnrollRequest:
    """An enroll that must not be repeated: its Idempotency-Key, what it held, what was answered."""

    key: str
    fingerprint: str  # of the request's content
    answer: dict[str, Any]  # site, version, space_id, errors


@dataclasses.dataclass(frozen=True)
class Item:
    """An enrolled crop, without its bytes."""

    seq: int
    id: str
    site: str
    camera: str | None
    identity: str | None
    captured_at: float | None
    metadata: dict[str, Any]
    enrolled_at: float | None  # None where an older version stored a time that no calendar has
    revision: int = 1  # one more with every correction

    def without_metadata(self) -> Item:
        """The same with empty metadata."""
        return dataclasses.replace(self, metadata={})


@dataclasses.dataclass(frozen=True)
class Erased:
    """What an erasure did."""

    count: int  # items
    purged: bool | None  # see `Purge.after_erasure`
    index_keeps_until: float | None = None  # see `Indexes.keeps_until`


@dataclasses.dataclass(frozen=True)
class Version:
    """A version of a site: which profile, hence which embedding spaces, and where a rollback leads.

    Args:
        space_id: in which embeddings are compared. raw_space_id: in which they are stored, before the
            profile's centres are applied.
        tiers: of adaptation that made the profile, like "1+0"; "none" for the bundle's own, None where that
            is not known. camera_tables: how many cameras have a table of their own in it.
        calibration: what scores mean in `space_id`, as `CalibrationReport`; None where that is not known.
    """

    site: str
    version: int
    profile_id: str
    space_id: str
    raw_space_id: str
    dim: int
    parent: int | None
    cause: str
    created_at: float
    tiers: str | None = None
    camera_tables: int = 0
    calibration: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class AdaptAfter:
    """When a site is adapted again by itself: after so many new items, after so many hours, or what of both
    comes first."""

    items: int | None = None
    hours: float | None = None


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a profile was fitted to.

    Args:
        count: items that took part, with those erased since. sampled: int64 seqs, ascending, of those that
            are left of the ones its tables were fitted to.
        through: its centres were fitted to every item of the site up to this seq; None where it has none.
    """

    count: int
    sampled: np.ndarray
    through: int | None

    def erased(self, present: np.ndarray) -> int:
        """How many are gone by now.

        Args:
            present: int64 seqs of the site's items, ascending.
        """
        if self.through is not None:  # they hold the sampled ones, too
            return self.count - int(np.searchsorted(present, self.through, "right"))
        return self.count - len(np.intersect1d(self.sampled, present, assume_unique=True))


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Rows of one raw space: seq int64 [N] ascending, cameras [N], vectors float16 [N,D]."""

    seqs: np.ndarray
    cameras: list[str | None]
    vectors: np.ndarray
