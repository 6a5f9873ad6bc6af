"""Which queries of a dataset can be scored at all: those whose person the gallery holds."""

from __future__ import annotations

from training.data.records import Dataset, DatasetError
from training.data.tracks import as_items


def count_matchless(dataset: Dataset, ignore_camera: bool | None = None) -> int:
    """Number of queries (tracks count once) without a match in the gallery.

    Args:
        ignore_camera: whether the query's own camera counts; None takes the dataset's word for it.
    """
    if ignore_camera is None:
        ignore_camera = dataset.ignore_camera
    cameras: dict[int, set[int]] = {}
    for record in dataset.gallery:
        cameras.setdefault(record.pid, set()).add(record.camid)
    queries, _ = as_items(dataset.query)
    count = 0
    for query in queries:
        seen = cameras.get(query.pid, set())
        count += not seen if ignore_camera else not seen - {query.camid}
    return count


def require_matches(dataset: Dataset) -> None:
    """Raises DatasetError where there are no queries, or none of them has a match."""
    queries = len(as_items(dataset.query)[0])
    if not queries:
        raise DatasetError(f"{dataset.name} has no query crops to evaluate on")
    if count_matchless(dataset) < queries:
        return
    if count_matchless(dataset, ignore_camera=True) < queries:
        raise DatasetError(
            f"{dataset.name}: the matches of all {queries} queries are of the query's own camera, which a "
            f"ranking leaves out; name the cameras, or evaluate with --ignore-cameras"
        )
    raise DatasetError(
        f"{dataset.name}: none of the people of the {queries} queries is in the gallery, so there is nothing "
        f"to score; are identities called the same in both?"
    )
