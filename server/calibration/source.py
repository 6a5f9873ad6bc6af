"""What a calibration is measured of, and why it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from server.gallery.store import Store
from server.labelled import Compare

FEWEST_PEOPLE = 32  # seen by two cameras: a quarter of them, enrolled or not, is in each half of a fit
FEWEST_TRACKS = 32  # of two moments, where tracks say what one person looks like


class TooFewLabels(Exception):
    """The labels of a site do not say what its scores mean; the text is a clause that says why.

    Args:
        people: how many have an identity and were seen by two cameras.
    """

    def __init__(self, reason: str, people: int) -> None:
        super().__init__(reason)
        self.people = people


class Source(NamedTuple):
    """Of which site's items a calibration is measured, and how they are compared.

    Args:
        compare: how embeddings are compared in `space_id`. raw_space_id: where they are stored.
        check: called between the steps of a measurement, each of which takes a second or two at most; raises
            where it should end.
    """

    store: Store
    site: str
    compare: Compare
    space_id: str
    raw_space_id: str
    check: Callable[[], None]


def require_rising(slope: float, people: int) -> None:
    """Raises TooFewLabels for a calibration by which a higher score is a worse match."""
    if slope <= 0:
        raise TooFewLabels(
            "by its labels a higher score is a worse match; look whether its identities are true", people
        )
