"""A browser for the tests of the console: Debian's chromium, driven by Playwright, and signing in with it.

`admin`, `context` and `page` need a `server` and a `client` of the file of tests that uses them: that of
`server_with_keys()`, and one of `client_after(fill)`, where fill(client) enrolls what the file wants.

RESIGHT_SLOW_NETWORK=SEED, a whole number, gives each call of every page two random delays of up to 150 ms,
one before it is sent and one before its answer arrives: that shows races. Each number has delays of its own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from resight_client import Client

from benchmarks.serving import ServerProcess
from tests.tiny import tiny_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

# Instead of the browser's own: each address of a page has delays of its own.
SLOW = """(() => {
  let state = SEED;
  const address = location.href.replace(location.origin, "");
  for (const letter of address) state = Math.imul(state ^ letter.charCodeAt(), 16777619);
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const wait = () => new Promise((resolve) => setTimeout(resolve, 150 * random()));
  const quick = window.fetch.bind(window);
  window.fetch = async (...asked) => {
    await wait();
    const answer = await quick(...asked);
    await wait();
    asked[1]?.signal?.throwIfAborted();
    return answer;
  };
})();"""


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


@pytest.fixture(scope="module")
def context(chromium: Browser, server: ServerProcess, admin: str, client: Client) -> Iterator[BrowserContext]:
    """A window in which an administrator has signed in."""
    opened = window(chromium, server, admin)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def readers(chromium: Browser, server: ServerProcess, admin: str, client: Client) -> Iterator[BrowserContext]:
    """A window in which somebody has signed in who may only look."""
    opened = window(chromium, server, new_key(server, admin, "read")[1])
    yield opened
    opened.close()


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


def server_with_keys() -> Any:
    """A fixture for a file of tests: a server of its own that wants keys, over a tiny bundle."""

    @pytest.fixture(scope="module")
    def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
        with tiny_server(tmp_path_factory.mktemp("console"), grpc_port=0, auth="on") as running:
            yield running

    return server


def client_after(fill: Callable[[Client], object]) -> Any:
    """A fixture for a file of tests: a client beside the browser, after `fill` gave sites what they show."""

    @pytest.fixture(scope="module")
    def client(server: ServerProcess, admin: str) -> Iterator[Client]:
        with Client(server.url, api_key=admin) as opened:
            fill(opened)
            yield opened

    return client


def empty_window(chromium: Browser, url: str) -> BrowserContext:
    """A browser's window in which nobody has signed in."""
    opened = chromium.new_context(base_url=url)
    opened.set_default_timeout(60_000)
    if seed := os.environ.get("RESIGHT_SLOW_NETWORK"):
        opened.add_init_script(SLOW.replace("SEED", str(int(seed))))
    return opened


def window(chromium: Browser, server: ServerProcess, key: str) -> BrowserContext:
    """A browser's window with a session of this key."""
    opened = empty_window(chromium, server.url)
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
