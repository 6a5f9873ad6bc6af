"""A browser for the tests of the console: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for one file of tests: while it is open, no other can run an event loop. Skipped where none
    is installed, unless RESIGHT_REQUIRE_CHROMIUM says that it must not lack."""
    program = shutil.which("chromium")
    if program is None or find_spec("playwright") is None:
        sentence = "chromium (Debian's package) or playwright (the extra dev) is not installed"
        if os.environ.get("RESIGHT_REQUIRE_CHROMIUM"):
            raise RuntimeError(sentence)
        pytest.skip(sentence)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
