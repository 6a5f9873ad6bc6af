"""Says at the end of a run how many tests it left out because they need a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

LEFT_OUT = pytest.StashKey[int]()
KEY = "left_out"  # under which a worker process of pytest-xdist tells its count


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Counts those that need a GPU."""
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.config.stash[LEFT_OUT] = item.config.stash.get(LEFT_OUT, 0) + 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tells the count to the process that prints, where the tests run in several."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[KEY] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Takes the count of a worker. Each has collected every test, so that one count is the count of all."""
    count = getattr(node, "workeroutput", {}).get(KEY, 0)
    node.config.stash[LEFT_OUT] = max(count, node.config.stash.get(LEFT_OUT, 0))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Says it above the last line."""
    count = config.stash.get(LEFT_OUT, 0)
    if count:
        terminalreporter.write_line(f"{count} tests need a GPU and did not run; run them with: pytest -m gpu")
