"""A browser for the tests of the console: Debian's chromium, driven by Playwright, and signing in with it.

`admin` and `page` need a `server` and a `context` of the file of tests that uses them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from benchmarks.serving import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


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


@pytest.fixture(scope="module")
def axe() -> Any:
    """axe-core, as the package axe-playwright-python brings it. Skipped as the browser is."""
    if find_spec("axe_playwright_python") is None:
        sentence = "axe-playwright-python (the extra dev) is not installed"
        if os.environ.get("RESIGHT_REQUIRE_CHROMIUM"):
            raise RuntimeError(sentence)
        pytest.skip(sentence)
    from axe_playwright_python.sync_playwright import Axe

    return Axe()


@pytest.fixture(scope="module")
def admin(server: ServerProcess) -> str:
    """The first key of the server."""
    match = re.search(r"rs_\S+", server.log.read_text())
    assert match
    return match[0]


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab, in which no script may fail and nothing comes from elsewhere."""
    tab = context.new_page()
    failures: list[str] = []
    tab.on("pageerror", lambda error: failures.append(str(error)))
    tab.on(
        "console",
        lambda line: failures.append(line.text) if "Content Security Policy" in line.text else None,
    )
    yield tab
    tab.close()
    assert failures == []


def window(chromium: Browser, server: ServerProcess, key: str) -> BrowserContext:
    """A browser's window with a session of this key."""
    opened = chromium.new_context(base_url=server.url)
    opened.set_default_timeout(60_000)
    tab = opened.new_page()
    sign_in(tab, key)
    tab.close()
    return opened


def sign_in(tab: Page, key: str) -> None:
    """Opens the console and gives it a key."""
    tab.goto("/")
    tab.get_by_label("API key").fill(key)
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_role("heading", name="Search").wait_for()


def new_key(server: ServerProcess, admin: str, scope: str) -> tuple[str, str]:
    """The id and text of a new key."""
    made = httpx.post(f"{server.url}/console/keys", json={"scope": scope}, headers={"X-API-Key": admin})
    return made.json()["id"], made.json()["key"]
