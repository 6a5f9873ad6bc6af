"""Says at the end of a run how many tests it left out because they need a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

LEFT_OUT = pytest.StashKey[int]()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Counts those that need a GPU."""
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.config.stash[LEFT_OUT] = item.config.stash.get(LEFT_OUT, 0) + 1


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Says it above the last line."""
    count = config.stash.get(LEFT_OUT, 0)
    if count:
        terminalreporter.write_line(f"{count} tests need a GPU and did not run; run them with: pytest -m gpu")
