"""Files that take long run first, so that no test process still has one when the others are done."""

from __future__ import annotations

from pathlib import Path

import pytest

# by how long each takes; all others follow in their usual order
LONGEST = (
    "test_gpu_check",
    "test_interrupted",
    "test_adapt_live",
    "test_start",
    "test_gallery_history",
    "test_training",
    "test_worker",
    "test_command_line",
    "test_world",
    "test_adaptation_guards",
    "test_readme",
    "test_shards",
    "test_published_weights",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts by file and leaves the order inside each."""

    def place(item: pytest.Item) -> int:
        name = Path(item.path).stem
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=place)
