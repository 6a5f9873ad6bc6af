"""axe-core on every page and dialog of the console, light and dark, wide and narrow: it finds nothing.

axe runs through the browser's debugger, so that the pages keep their strict Content-Security-Policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from resight_client import Client

from benchmarks.serving import ServerProcess
from tests.chromium import client_after, empty_window, server_with_keys
from tests.console_site import adapt, enroll_doubtful, enroll_labelled, file_chooser
from tests.test_review import view

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# what people with a trembling hand can hit is no rule of axe's own choice
OPTIONS = {"rules": {"target-size": {"enabled": True}}, "resultTypes": ["violations"]}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}


def fill(client: Client) -> None:
    """A site on which every page has something to show."""
    enroll_labelled(client, "lobby")
    enroll_doubtful(client, "lobby")
    client.rename("lobby", "dan", "dora")
    client.calibrate("lobby")
    adapt(client, "lobby")


server, client = server_with_keys(), client_after(fill)


def picture_file(number: int = 0, name: str = "crop.png") -> dict[str, str | bytes]:
    """A crop of ada as a file that is chosen."""
    return {"name": name, "mimeType": "image/png", "buffer": view(1, 1, 1.0, 50 + number)}


def search(page: Page) -> None:
    file_chooser(page).set_input_files([picture_file()])
    page.locator(".person .crop").first.wait_for()


def search_filtered(page: Page) -> None:
    search(page)
    page.locator("summary", has_text="Cameras").click()
    page.get_by_label("hall").check()
    page.locator(".chip.on").wait_for()


def nobody(page: Page) -> None:
    search(page)
    page.locator("summary", has_text="Person").click()
    page.get_by_role("textbox", name="Person").fill("nobody")
    page.keyboard.press("Tab")
    page.get_by_text("Nobody meets these conditions").first.wait_for()


def search_again(page: Page) -> None:
    """The answer before is there still while the next one is computed."""
    search(page)
    page.route("**/query", lambda route: None, times=1)
    page.get_by_label("Seen at", exact=True).select_option("hall")
    page.locator(".results[aria-busy]").wait_for()


def search_code(page: Page) -> None:
    search(page)
    page.get_by_role("button", name="Copy as curl or Python").click()
    page.get_by_role("dialog").wait_for()


def crop(page: Page) -> None:
    page.locator(".sheet .crop").first.click()
    page.get_by_role("dialog").wait_for()


def erase(page: Page) -> None:
    choosing(page)
    page.get_by_role("button", name="Erase 1").click()
    page.get_by_role("dialog").wait_for()


def choosing(page: Page) -> None:
    page.locator(".sheet .crop").first.wait_for()
    page.get_by_role("button", name="Choose several").click()
    page.locator(".sheet .crop").first.click()


def sheet(page: Page) -> None:
    page.locator(".sheet .crop").first.wait_for()


def changes(page: Page) -> None:
    page.locator("summary", has_text="Last changes").click()
    page.get_by_role("button", name="Undo entry").wait_for()


def merge(page: Page) -> None:
    page.get_by_role("button", name="Rename or merge").click()
    page.locator(".alikes .crop").first.wait_for()
    page.get_by_label("Name", exact=True).fill("bea")
    page.keyboard.press("Enter")
    page.locator(".offer .versus").wait_for()


def split(page: Page) -> None:
    choosing(page)
    page.get_by_role("button", name="Split off 1 crop").click()
    page.get_by_role("dialog").wait_for()


def mapped(page: Page) -> None:
    choosing(page)
    page.locator("summary", has_text="Map of these crops").click()
    page.get_by_role("img", name="Map of").wait_for()


def part_of_cluster(page: Page) -> None:
    page.get_by_role("button", name=re.compile("Show all|Choose some")).first.click()
    mapped(page)


def clusters(page: Page) -> None:
    page.locator(".cluster .crop").first.wait_for()
    page.locator(".nearest .crop").first.wait_for()
    page.get_by_role("button", name="Name all").first.click()
    page.get_by_text("Say who these crops show").first.wait_for()


def case(page: Page) -> None:
    page.locator(".case .crop").first.wait_for()
    page.keyboard.press("u")
    page.get_by_text("There is nothing to undo").first.wait_for()


def answering(page: Page) -> None:
    page.locator(".case .crop").first.wait_for()
    page.route("**/review/*", lambda route: None, times=1)
    page.keyboard.press("k")
    page.locator('.decide[aria-busy="true"]').wait_for()


def chosen_files(page: Page) -> None:
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"words"}
    inputs = page.locator(".well input[type=file]:not([webkitdirectory])")
    page.get_by_label("What names say").select_option("own")
    page.get_by_label("Expression").fill("(?P<identity>ada)")
    inputs.set_input_files([picture_file(1, "ada.png"), picture_file(2, "other.png"), broken])
    page.locator(".sample td.error").first.wait_for()


def sent_files(page: Page) -> None:
    page.locator("main").get_by_label("Site", exact=True).fill("yard")
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"words"}
    page.locator(".well input[type=file]:not([webkitdirectory])").set_input_files([picture_file(1), broken])
    page.get_by_role("button", name="Enroll 2 crops").click()
    page.locator(".errors li").wait_for()


def matrices(page: Page) -> None:
    page.locator(".matrix").nth(1).wait_for()


def roll_back(page: Page) -> None:
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").wait_for()


def curve(page: Page) -> None:
    page.locator("svg.curve circle").wait_for()


def unreached(page: Page) -> None:
    page.get_by_label("False alarms in 1,000 queries of unknown people").focus()
    page.keyboard.press("Home")
    page.locator(".tuner .error").wait_for()


def running(page: Page) -> None:
    page.get_by_text("onnxruntime").first.wait_for()
    page.locator("table").wait_for()


def made_key(page: Page) -> None:
    page.get_by_role("button", name="Make a key").click()
    page.locator(".copyable").wait_for()


def revoke(page: Page) -> None:
    page.get_by_role("button", name="Revoke").first.click()
    page.get_by_role("dialog").wait_for()


def shown(page: Page) -> None:
    page.locator("main h1").wait_for()


def lost(page: Page) -> None:
    search(page)
    page.context.set_offline(True)
    page.get_by_label("Seen at", exact=True).select_option("hall")
    page.locator(".lost").wait_for()
    page.locator(".results .error").wait_for()


STATES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "search, before": ("search/lobby", shown),
    "search": ("search/lobby", search),
    "search with a filter open": ("search/lobby", search_filtered),
    "a search while it runs": ("search/lobby", search_again),
    "search that finds nobody": ("search/lobby", nobody),
    "the dialog of a query as a program": ("search/lobby", search_code),
    "a lost connection": ("search/lobby", lost),
    "gallery": ("gallery/lobby", sheet),
    "gallery with a crop that is chosen": ("gallery/lobby", choosing),
    "the dialog of a crop": ("gallery/lobby", crop),
    "the dialog before something is erased": ("gallery/lobby", erase),
    "people": ("people/lobby", sheet),
    "last changes": ("people/lobby", changes),
    "a person": ("people/lobby?person=ada", sheet),
    "the map of a person": ("people/lobby?person=ada", mapped),
    "the dialog that merges people": ("people/lobby?person=ada", merge),
    "the dialog that splits a person": ("people/lobby?person=ada", split),
    "unknown": ("unknown/lobby", clusters),
    "the map of a cluster": ("unknown/lobby", part_of_cluster),
    "review": ("review/lobby", case),
    "an answer on its way": ("review/lobby", answering),
    "enroll": ("enroll/lobby", shown),
    "enroll with files that are chosen": ("enroll/lobby", chosen_files),
    "enroll with a file that was refused": ("enroll/lobby", sent_files),
    "site": ("site/lobby", matrices),
    "the dialog before a rollback": ("site/lobby", roll_back),
    "calibration": ("calibration/lobby", curve),
    "calibration with too few labels": ("calibration/lobby", unreached),
    "system": ("system", running),
    "keys": ("keys", made_key),
    "the dialog before a key is revoked": ("keys", revoke),
    "a site that is gone": ("search/gone", shown),
}


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_wrong_with(page: Page, axe: Any, state: str) -> None:
    address, reach = STATES[state]
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"/#/{address}")
    try:
        reach(page)
        judge(page, axe)
    finally:
        page.context.set_offline(False)


def test_axe_finds_nothing_wrong_with_signing_in(chromium: Browser, server: ServerProcess, axe: Any) -> None:
    stranger = empty_window(chromium, server.url)
    page = stranger.new_page()
    page.goto("/")
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.locator("dialog .error").wait_for()
    judge(page, axe)
    stranger.close()


def judge(page: Page, axe: Any) -> None:
    """Runs axe on the page as it is, wide in light colours and narrow in dark ones."""
    for size, colours in ((WIDE, "light"), (NARROW, "dark")):
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        results = axe.run(page, options=OPTIONS)
        found = [
            f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}"
            for each in results.response["violations"]
        ]
        assert not found, f"{colours}, {size['width']} pixels: {found}"
