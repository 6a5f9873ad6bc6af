"""The console's page for the review queue, in a real browser: one key a decision."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from resight_client import Client

from benchmarks.serving import ServerProcess
from reid.bundle import write_manifest
from tests.chromium import client_after, window
from tests.console_site import enroll_doubtful as enroll
from tests.test_calibration import CARD
from tests.test_console_people import names_of
from tests.tiny import make_tiny_bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

MERGE, MISNAMED, ITEM, CLUSTER = (
    "'dan' and 'cy' look like one person",
    "An item that bears the name 'bea' looks more like 'ada'",
    "An item without a name looks most like 'ada'",
    "2 items without a name look most like 'bea'",
)
BEFORE = {"ada": 3, "bea": 4, "cy": 2, "dan": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server's bundle and data are."""
    return tmp_path_factory.mktemp("review")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    """A server that wants keys, over a bundle whose card says what scores mean."""
    bundle = make_tiny_bundle(folder)
    manifest = bundle.manifest.model_copy(update={"metrics": [CARD[1]]})
    path = write_manifest(bundle, manifest).path
    with ServerProcess(path, folder / "data", engine="onnxruntime", grpc_port=0, auth="on") as running:
        yield running


client = client_after(lambda client: enroll(client, "lobby"))


def asked(page: Page, reason: str) -> None:
    """Waits until the page asks this."""
    page.locator(".case h2", has_text=reason).wait_for()


def test_a_case_shows_both_sides_why_it_is_asked_and_how_likely_it_is(page: Page, client: Client) -> None:
    enroll(client, "shown")
    page.goto("/#/review/shown")
    asked(page, MERGE)
    page.get_by_text("4 cases are in doubt.").first.wait_for()
    case = client.review("shown").cases[0]
    assert case.probability is not None
    assert page.locator(".probability b").inner_text() == f"{100 * case.probability:.0f}"
    assert "a guess" in page.locator(".probability").inner_text()
    assert page.locator(".sides h3").all_inner_texts() == ["dan", "cy"]
    assert [section.locator(".crop").count() for section in page.locator(".sides section").all()] == [1, 2]
    page.get_by_text("Same: 1 crop of dan will be called cy.").first.wait_for()
    labels = ("Same person", "Different people", "Skip")
    assert [page.get_by_role("button", name=name).locator("kbd").inner_text() for name in labels] == [*"SDK"]


@pytest.mark.parametrize(("likely", "shown"), [(0.996, "over 99 %"), (0.374, "37 %"), (0.003, "under 1 %")])
def test_a_probability_is_rounded_but_never_shown_as_certain(
    page: Page, client: Client, likely: float, shown: str
) -> None:
    def answer(route: Route) -> None:
        told = route.fetch()
        body = told.json()
        for each in body.get("cases", [body]):
            each["probability"] = likely
        route.fulfill(response=told, json=body)

    site = f"likely-{1000 * likely:.0f}"
    ids = enroll(client, site)
    page.route(re.compile(r"/review\?|/query$"), answer)
    page.goto(f"/#/review/{site}")
    asked(page, MERGE)
    assert page.locator(".probability").inner_text().startswith(shown)
    page.goto(f"/#/search/{site}?item={ids[0]}")
    page.locator(".verdict .probability", has_text=shown).wait_for()
    assert f"Probability {shown}" in page.locator(".verdict").inner_text()


def test_each_decision_is_one_key_and_the_next_case_is_shown(page: Page, client: Client) -> None:
    ids = enroll(client, "keys")
    page.goto("/#/review/keys")
    asked(page, MERGE)
    page.keyboard.press("s")
    page.get_by_text("Same person: called cy now.").first.wait_for()
    asked(page, MISNAMED)
    assert names_of(client, "keys") == {"ada": 3, "bea": 4, "cy": 3}
    page.keyboard.press("d")
    page.get_by_text("Different people: noted").first.wait_for()
    asked(page, ITEM)
    assert client.item(ids[6]).identity == "bea"
    assert [case.kind for case in client.review("keys").cases] == ["unnamed", "unnamed"]
    page.keyboard.press("k")
    page.get_by_text("Skipped").first.wait_for()
    asked(page, CLUSTER)
    assert [case.skipped for case in client.review("keys").cases] == [False, True]
    page.get_by_role("button", name="Different people").click()
    page.get_by_text("You have gone past the one case that is in doubt.").first.wait_for()
    page.keyboard.press("s")  # no case is shown, so that it answers none
    page.get_by_role("button", name="Show them again").click()
    asked(page, ITEM)
    page.get_by_text("skipped before").first.wait_for()
    page.keyboard.press("Shift+S")
    page.get_by_text("There is nothing to decide").first.wait_for()
    assert names_of(client, "keys") == {"ada": 4, "bea": 4, "cy": 3}
    assert page.locator(".case .crop").count() == 0


def test_u_takes_decisions_back_one_by_one_and_shows_their_cases(page: Page, client: Client) -> None:
    enroll(client, "undo")
    page.goto("/#/review/undo")
    asked(page, MERGE)
    page.keyboard.press("u")
    page.get_by_text("There is nothing to undo").first.wait_for()
    for key, following in (("s", MISNAMED), ("d", ITEM), ("k", CLUSTER)):
        page.keyboard.press(key)
        asked(page, following)
    for before in (ITEM, MISNAMED, MERGE):
        page.keyboard.press("u")
        asked(page, before)
    assert names_of(client, "undo") == BEFORE
    page.get_by_text("4 cases are in doubt.").first.wait_for()
    page.keyboard.press("s")
    asked(page, MISNAMED)
    assert names_of(client, "undo") == {"ada": 3, "bea": 4, "cy": 3}


def test_a_case_that_somebody_else_answered_or_that_changed_is_said_and_not_answered(
    page: Page, client: Client
) -> None:
    ids = enroll(client, "race")
    page.goto("/#/review/race")
    asked(page, MERGE)
    client.answer_review("race", client.review("race").cases[0].case, "different")
    page.keyboard.press("s")
    told = page.get_by_role("alert").filter(has_text="Somebody was faster")
    told.wait_for()
    assert "cy was said not to be dan, by key-" in told.inner_text()
    asked(page, MISNAMED)
    assert names_of(client, "race") == BEFORE
    client.erase(ids[6])
    page.keyboard.press("s")
    page.get_by_role("alert").get_by_text("That case is not open any more").first.wait_for()
    asked(page, ITEM)
    assert names_of(client, "race") == BEFORE | {"bea": 3}


def test_letters_that_are_typed_elsewhere_or_held_down_decide_nothing(page: Page, client: Client) -> None:
    enroll(client, "typed")
    page.goto("/#/review/typed")
    asked(page, MERGE)
    page.get_by_label("Colours").focus()
    page.keyboard.press("s")
    page.locator(".case .crop").first.click()
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("d")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("Control+d")
    page.evaluate("dispatchEvent(new KeyboardEvent('keydown', {key: 's', repeat: true}))")
    page.keyboard.press("k")
    asked(page, MISNAMED)
    assert names_of(client, "typed") == BEFORE
    assert [case.skipped for case in client.review("typed").cases] == [False, False, False, True]


def test_a_read_key_sees_every_case_and_cannot_answer(readers: BrowserContext, client: Client) -> None:
    enroll(client, "read")
    tab = readers.new_page()
    tab.set_default_timeout(30_000)
    tab.goto("/#/review/read")
    asked(tab, MERGE)
    tab.get_by_text("Answering needs a key of scope write.").first.wait_for()
    assert tab.get_by_role("button", name=re.compile("Same|Different|Skip|Undo")).count() == 0
    for key in "sd":
        tab.keyboard.press(key)
    tab.keyboard.press("k")
    asked(tab, MISNAMED)
    tab.keyboard.press("u")
    asked(tab, MERGE)
    assert names_of(client, "read") == BEFORE
    assert not any(case.skipped for case in client.review("read").cases)


def test_single_letter_keys_can_be_switched_off_and_the_page_says_so(
    chromium: Browser, server: ServerProcess, admin: str, client: Client
) -> None:
    enroll(client, "letters")
    before = names_of(client, "letters")
    careful = window(chromium, server, admin)  # a browser of its own remembers it
    page = careful.new_page()
    page.goto("/#/review/letters")
    asked(page, MERGE)
    page.get_by_label("Single-letter keys").uncheck()
    page.get_by_text("Single-letter keys are off").first.wait_for()
    page.reload()
    asked(page, MERGE)
    page.get_by_text("Single-letter keys are off").first.wait_for()
    assert page.locator("kbd:visible, [aria-keyshortcuts]").count() == 0
    page.locator("main").focus()
    for key in "sdku":
        page.keyboard.press(key)
    page.get_by_role("button", name="Skip").click()
    asked(page, MISNAMED)  # the button works, and no key did
    assert names_of(client, "letters") == before
    page.get_by_label("Single-letter keys").check()
    page.locator("main").focus()
    page.keyboard.press("u")
    asked(page, MERGE)
    assert page.locator("kbd:visible").count() == 3  # nothing is left to undo
    careful.close()


def test_an_answer_that_arrived_while_the_connection_broke_counts_once_and_can_be_undone(
    page: Page, client: Client
) -> None:
    def arrive_and_break(route: Route) -> None:
        route.fetch()
        route.abort()

    enroll(client, "broken")
    page.goto("/#/review/broken")
    asked(page, MERGE)
    page.route("**/review/*", arrive_and_break, times=1)
    page.keyboard.press("s")
    page.get_by_text("whether your answer reached it is not known").or_(
        page.get_by_text("is not known: answer it again")
    ).first.wait_for()
    assert names_of(client, "broken") == {"ada": 3, "bea": 4, "cy": 3}
    page.keyboard.press("s")
    page.get_by_text("Your answer had reached the server").first.wait_for()
    asked(page, MISNAMED)
    page.keyboard.press("u")
    asked(page, MERGE)
    assert names_of(client, "broken") == BEFORE


def test_a_server_that_stops_is_said_and_the_page_goes_on_when_it_is_back(
    page: Page, client: Client, server: ServerProcess, admin: str
) -> None:
    enroll(client, "stopped")
    page.goto("/#/review/stopped")
    asked(page, MERGE)
    server.kill()
    page.keyboard.press("s")
    page.get_by_text("whether your answer reached it is not known").first.wait_for()
    page.locator(".lost").wait_for()
    asked(page, MERGE)  # nothing of it is lost
    with server:
        sign_in_again(page, admin)
        page.locator(".lost").wait_for(state="hidden")
        page.get_by_text("is not known: answer it again").first.wait_for()
        asked(page, MERGE)
        page.keyboard.press("s")
        asked(page, MISNAMED)
        assert names_of(client, "stopped") == {"ada": 3, "bea": 4, "cy": 3}


def sign_in_again(page: Page, key: str) -> None:
    """Answers the page's question for a key: sessions end with the server."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("API key").fill(key)
    dialog.get_by_role("button", name="Sign in").click()
    dialog.wait_for(state="detached")
