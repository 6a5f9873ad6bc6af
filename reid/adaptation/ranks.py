"""Where a few crops that were held out stand before and after each tier: what an adaptation does, in places.

A crop of somebody who was seen by another camera looks for that person there; where no such crop was held
out, crops look for themselves by another view of them. No torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from reid.adaptation.sampling import camera_numbers
from reid.adaptation.signals import Pool

MOST_QUERIES = 12


@dataclasses.dataclass(frozen=True)
class Ranks:
    """Places of crops, 1 being the best.

    Args:
        by: labels, where crops look for their person at other cameras; views, where they look for themselves.
        rows: [Q] of the crops in their sample. before: [Q] with the bundle's own values.
        after: tiers that were judged, in this order, and [Q] with each of them.
        among: how many crops were ranked.
    """

    by: str
    rows: list[int]
    before: list[int]
    after: list[tuple[str, list[int]]]
    among: int


class Ranking:
    """Ranks the same crops in one space after another.

    Args:
        numbers: int64 [N], the row in the sample of each crop of the pools. held: how many of them, the first
            ones, were not fitted to. identities, cameras: [N], where they are known.
        views: of how many crops, the first ones, the pools have another view.
    """

    def __init__(
        self,
        numbers: np.ndarray,
        held: int,
        identities: Sequence[str | None],
        cameras: Sequence[str | None],
        views: int,
    ) -> None:
        self.numbers, self.places = numbers, camera_numbers(cameras)
        self.persons = np.unique([identity or "" for identity in identities], return_inverse=True)[1]
        self.known = np.array([bool(i) and bool(c) for i, c in zip(identities, cameras, strict=True)], bool)
        labelled = [row for row in range(held) if self._right(row).any()]
        self.by = "labels" if labelled else "views"
        # the first ones: a sample is shuffled, and its cameras take turns
        self.queries = (labelled or list(range(views)))[:MOST_QUERIES]
        self.before: list[int] = []
        self.after: list[tuple[str, list[int]]] = []

    def add(self, tiers: str, before: Pool, after: Pool) -> None:
        """Ranks with tiers that were judged; does nothing where their space is not finite.

        Args:
            before: the crops with the bundle's own values. after: with the tiers.
        """
        if not np.isfinite(after.vectors).all():
            return
        self.before = self.before or self._ranks(before)
        self.after.append((tiers, self._ranks(after)))

    def result(self) -> Ranks | None:
        """None where nothing could be ranked: nothing was judged, or there is neither a label nor a view."""
        if not self.before:
            return None
        rows = [int(self.numbers[row]) for row in self.queries]
        return Ranks(self.by, rows, self.before, self.after, len(self.numbers))

    def _right(self, row: int) -> np.ndarray:
        """bool [N]: the crops of the same person at other cameras."""
        if not self.known[row]:
            return np.zeros(len(self.known), bool)
        same: np.ndarray = self.known & (self.persons == self.persons[row])
        return same & (self.places != self.places[row])

    def _ranks(self, pool: Pool) -> list[int]:
        return [self._rank(pool, row) for row in self.queries]

    def _rank(self, pool: Pool, row: int) -> int:
        """The place of the best right crop; of equally similar ones, the worst."""
        if self.by == "views":
            similar = pool.vectors @ pool.views[row]
            return int((similar >= similar[row]).sum())
        similar = pool.vectors @ pool.vectors[row]
        elsewhere, right = self.places != self.places[row], self._right(row)
        best = similar[right].max()
        return 1 + int((similar[elsewhere & ~right] >= best).sum())
