"""Tracklets: crops of one person in one camera that are compared as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.data.records import Dataset, Record


def has_tracks(dataset: Dataset) -> bool:
    """True where some query or gallery crop belongs to a track."""
    return any(record.track >= 0 for record in (*dataset.query, *dataset.gallery))


def as_items(records: Sequence[Record]) -> tuple[list[Record], np.ndarray]:
    """What is ranked: each track by its first crop, and each crop that has no track.

    Returns:
        items, in the order in which they first appear; int64 [N]: the item of every record.
    """
    items: list[Record] = []
    places: dict[tuple[int, ...], int] = {}
    of_record = np.empty(len(records), np.int64)
    for i, record in enumerate(records):
        alone = record.track < 0
        key = (i,) if alone else (record.domain, record.pid, record.camid, record.track)
        if key not in places:
            places[key] = len(items)
            items.append(record)
        of_record[i] = places[key]
    return items, of_record
