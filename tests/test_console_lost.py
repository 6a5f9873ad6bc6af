"""A lost connection, a revoked key and a deleted site on every page of the console: said plainly, nothing is
lost, and the page goes on."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from resight_client import Client

from benchmarks.serving import ServerProcess
from tests.chromium import client_after, empty_window, new_key, server_with_keys
from tests.console_site import enroll_doubtful, enroll_labelled, file_chooser
from tests.test_review import view
from tests.tiny import picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

LOST = "The server does not answer"


@dataclass(frozen=True)
class Task:
    """The main task of a page.

    Args:
        address: the page, with SITE for the name of a site. prepare: what is typed or chosen before something
            happens. act: what is done then. kept: that what was typed or chosen is still there after act
            failed. done: that it has been done. by_itself: whether it is done without a second act once the
            connection is back. bears: whether the page goes on with a site that was deleted.
    """

    address: str
    prepare: Callable[[Page], None]
    act: Callable[[Page], None]
    kept: Callable[[Page], None]
    done: Callable[[Page], None]
    by_itself: bool = False
    bears: bool = False


server, client = server_with_keys(), client_after(lambda client: client.enroll("lobby", [picture(0)]))


def picture_file(name: str = "crop.png") -> dict[str, str | bytes]:
    """A crop of ada as a file that is chosen."""
    return {"name": name, "mimeType": "image/png", "buffer": view(1, 1, 1.0, 99)}


def press(name: str) -> Callable[[Page], None]:
    """Presses a button of the page or of its dialog."""
    return lambda page: page.get_by_role("button", name=name).last.click()


def key(name: str) -> Callable[[Page], None]:
    """Presses a key."""
    return lambda page: page.keyboard.press(name)


def text(words: str) -> Callable[[Page], None]:
    """Waits until the page says something."""
    return lambda page: page.get_by_text(words).first.wait_for()


def value(label: str, expected: str) -> Callable[[Page], None]:
    """Expects what was typed."""

    def expect(page: Page) -> None:
        page.get_by_text(LOST).last.wait_for()
        assert page.get_by_label(label, exact=True).first.input_value() == expected

    return expect


def choose_crop(page: Page) -> None:
    page.get_by_role("button", name="Choose several").click()
    page.locator(".sheet .crop").first.click()


def erase(page: Page) -> None:
    page.get_by_role("button", name="Erase 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Erase 1").click()


def see_people(page: Page) -> None:
    page.locator(".sheet .crop", has_text="ada").wait_for()


def only_bea(page: Page) -> None:
    page.locator(".sheet .crop", has_text="ada").wait_for(state="detached")
    page.locator(".sheet .crop", has_text="bea").wait_for()


def ask_name(page: Page) -> None:
    page.get_by_role("button", name="Rename or merge").click()
    page.get_by_label("Name", exact=True).fill("zoe")


def type_name(page: Page) -> None:
    page.get_by_label("Who is it?").first.fill("zoe")


def choose_files(page: Page) -> None:
    page.get_by_role("heading", name="Enroll").wait_for()
    page.locator(".well input[type=file]:not([webkitdirectory])").set_input_files([picture_file("a.png")])
    page.get_by_role("button", name="Enroll 1 crop").wait_for()


def choose_tier(page: Page) -> None:
    page.get_by_label("What to try").select_option("0")
    page.get_by_label("The gate decides").uncheck()


def tier_kept(page: Page) -> None:
    page.get_by_text("whether the job was begun is not known").first.wait_for()
    assert page.get_by_label("What to try").input_value() == "0"
    assert not page.get_by_label("The gate decides").is_checked()


def no_curve(page: Page) -> None:
    page.get_by_role("alert").get_by_text(LOST).last.wait_for()
    page.get_by_text("Nothing says yet what scores mean at this site.").first.wait_for()


def choose_scope(page: Page) -> None:
    page.get_by_label("Scope").select_option("write")


TASKS = {
    "search": Task(
        "search/SITE",
        prepare=text("Results appear here"),
        act=lambda page: file_chooser(page).set_input_files([picture_file()]),
        kept=lambda page: page.locator(".results .error", has_text=LOST).wait_for(),
        done=lambda page: page.locator(".person").first.wait_for(),
        by_itself=True,
    ),
    "gallery": Task(
        "gallery/SITE",
        prepare=choose_crop,
        act=erase,
        kept=lambda page: page.get_by_role("button", name="Erase 1").wait_for(),
        done=text("1 crop erased."),
    ),
    "people": Task(
        "people/SITE",
        prepare=see_people,
        act=lambda page: page.get_by_label("Find a name").fill("be"),
        kept=value("Find a name", "be"),
        done=only_bea,
        by_itself=True,
    ),
    "a person": Task(
        "people/SITE?person=cy",
        prepare=ask_name,
        act=key("Enter"),
        kept=value("Name", "zoe"),
        done=lambda page: page.get_by_role("heading", name="zoe").wait_for(),
    ),
    "unknown": Task(
        "unknown/SITE",
        prepare=type_name,
        act=press("Name all"),
        kept=value("Who is it?", "zoe"),
        done=lambda page: page.locator(".change", has_text="are called zoe now").wait_for(),
    ),
    "review": Task(
        "review/SITE",
        prepare=text("'dan' and 'cy' look like one person"),
        act=key("s"),
        kept=text("whether your answer reached it is not known"),
        done=text("An item that bears the name 'bea' looks more like 'ada'"),
    ),
    "enroll": Task(
        "enroll/SITE",
        prepare=choose_files,
        act=press("Enroll 1 crop"),
        kept=text("Sending goes on by itself"),
        done=text("1 crop is enrolled at"),
        by_itself=True,
        bears=True,
    ),
    "site": Task(
        "site/SITE",
        prepare=choose_tier,
        act=press("Adapt this site"),
        kept=tier_kept,
        done=text("It succeeded: tier 0 (centring) went live"),
    ),
    "calibration": Task(
        "calibration/SITE",
        prepare=text("Nothing says yet what scores mean"),
        act=press("Measure now"),
        kept=no_curve,
        done=lambda page: page.locator("svg.curve circle").wait_for(),
    ),
    "system": Task(
        "system",
        prepare=text("onnxruntime"),
        act=lambda page: page.clock.fast_forward(5_000),
        kept=text("onnxruntime"),
        done=text("onnxruntime"),
        by_itself=True,
    ),
    "keys": Task(
        "keys",
        prepare=choose_scope,
        act=press("Make a key"),
        kept=text("whether a key was made is not known"),
        done=lambda page: page.locator(".copyable pre").wait_for(),
    ),
}
OF_A_SITE = [name for name, task in TASKS.items() if "SITE" in task.address and not task.bears]


def prepared(page: Page, client: Client, name: str, site: str) -> Task:
    """Opens the page of a task on a new site, prepared for it."""
    task = TASKS[name]
    (enroll_labelled if name in ("site", "calibration") else enroll_doubtful)(client, site)
    page.clock.install()
    page.goto(f"/#/{task.address.replace('SITE', site)}")
    task.prepare(page)
    return task


@pytest.mark.parametrize("name", TASKS)
def test_without_a_connection_nothing_is_lost_and_with_it_the_page_goes_on(
    page: Page, client: Client, name: str
) -> None:
    task = prepared(page, client, name, f"cut-{name.replace(' ', '-')}")
    page.context.set_offline(True)
    try:
        task.act(page)
        page.locator(".lost").wait_for()
        task.kept(page)
    finally:
        page.context.set_offline(False)
    page.locator(".lost").wait_for(state="hidden")
    if not task.by_itself:
        task.act(page)
    task.done(page)


@pytest.fixture(scope="module")
def revocable(chromium: Browser, server: ServerProcess, admin: str) -> Iterator[BrowserContext]:
    """A window in which nobody has signed in yet."""
    opened = empty_window(chromium, server.url)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", TASKS)
def test_when_the_key_is_revoked_the_page_asks_for_another_and_goes_on(
    revocable: BrowserContext, server: ServerProcess, client: Client, admin: str, name: str
) -> None:
    failures: list[str] = []
    revocable.clear_cookies()
    page = revocable.new_page()
    page.on("pageerror", lambda error: failures.append(str(error)))
    key_id, secret = new_key(server, admin, "admin")
    page.goto("/")
    sign_in(page, secret)
    page.goto("about:blank")  # a page that is left stays in sight until the next one is there
    task = prepared(page, client, name, f"revoked-{name.replace(' ', '-')}")
    httpx.delete(f"{server.url}/console/keys/{key_id}", headers={"X-API-Key": admin}).raise_for_status()
    task.act(page)
    sign_in(page, new_key(server, admin, "admin")[1])
    task.done(page)
    page.close()
    assert failures == []


def sign_in(page: Page, secret: str) -> None:
    """Answers the question for a key."""
    dialog = page.get_by_role("dialog", name="Sign in")
    dialog.get_by_label("API key").fill(secret)
    dialog.get_by_role("button", name="Sign in").click()
    dialog.wait_for(state="detached")


@pytest.mark.parametrize("name", OF_A_SITE)
def test_when_the_site_was_deleted_elsewhere_the_page_says_so(page: Page, client: Client, name: str) -> None:
    site = f"deleted-{name.replace(' ', '-')}"
    task = prepared(page, client, name, site)
    client.delete_site(site)
    task.act(page)
    page.locator(".gone", has_text=f"There is no site {site} any more").wait_for()
    page.goto("/#/system")  # the console lives on
    page.get_by_text("onnxruntime").first.wait_for()
    assert page.locator(".gone").is_hidden()


def test_a_page_that_is_asked_for_without_a_connection_comes_when_it_is_back(
    page: Page, client: Client
) -> None:
    page.goto("/#/gallery/lobby")
    page.locator(".sheet .crop").wait_for()
    page.route("**/pages/calibration.js", lambda route: route.abort(), times=1)
    page.get_by_role("link", name="Calibration").click()
    page.get_by_text("This page cannot be loaded, though the server answers").first.wait_for()
    page.context.set_offline(True)
    page.get_by_role("button", name="Try again").click()
    page.locator(".lost").wait_for()
    page.get_by_role("link", name="People").click()
    page.get_by_role("heading", name="People").wait_for()
    page.locator("main .error", has_text=LOST).wait_for()
    page.context.set_offline(False)
    page.locator(".sheet").wait_for()
    page.get_by_role("link", name="Calibration").click()
    page.get_by_text("Nothing says yet what scores mean").first.wait_for()


def test_a_server_that_hangs_is_said_and_what_was_asked_is_answered_when_it_goes_on(
    page: Page, client: Client, server: ServerProcess
) -> None:
    enroll_doubtful(client, "hangs")
    page.clock.install()
    page.goto("/#/people/hangs?person=cy")
    ask_name(page)
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        page.keyboard.press("Enter")
        page.clock.fast_forward(5_000)
        page.locator(".lost").wait_for()
    finally:
        server.process.send_signal(signal.SIGCONT)
    page.get_by_role("heading", name="zoe").wait_for()
    assert page.locator(".lost").is_hidden()


def test_an_adaptation_that_began_while_the_connection_broke_is_shown_when_it_is_back(
    page: Page, client: Client
) -> None:
    def arrive_and_break(route: Route) -> None:
        route.fetch()
        route.abort()

    enroll_labelled(client, "begun")
    page.goto("/#/site/begun")
    choose_tier(page)
    page.route("**/adapt", arrive_and_break, times=1)
    page.get_by_role("button", name="Adapt this site").click()
    page.get_by_text("whether the job was begun is not known").first.wait_for()
    page.get_by_text("It succeeded: tier 0 (centring) went live").first.wait_for()


def test_a_job_whose_stream_breaks_is_said_and_followed_again(page: Page, client: Client) -> None:
    """The browser takes a broken stream up again by itself, and says nothing of it."""
    enroll_labelled(client, "stream")
    page.goto("/#/site/stream")
    choose_tier(page)
    away = re.compile("/adapt/.*/events|/health")
    page.route(away, lambda route: route.abort())
    page.get_by_role("button", name="Adapt this site").click()
    page.locator(".lost").wait_for()
    page.unroute(away)
    page.locator(".lost").wait_for(state="hidden")
    page.get_by_text("It succeeded: tier 0 (centring) went live").first.wait_for()


def until(page: Page, held: list[Route]) -> None:
    """Waits until a request is held."""
    for _ in range(3_000):
        if held:
            return
        page.wait_for_timeout(10)
    raise AssertionError("nothing was asked")


def test_an_answer_that_comes_late_does_not_overwrite_a_newer_page(page: Page, client: Client) -> None:
    held: list[Route] = []
    page.route("**/console/sites/lobby", lambda route: held.append(route), times=1)
    page.goto("/#/search/lobby")
    until(page, held)
    page.get_by_role("link", name="People").click()
    page.get_by_role("heading", name="People").wait_for()
    held[0].continue_()
    page.wait_for_timeout(300)
    assert page.locator("main").count() == 1
    assert page.locator("h1").all_inner_texts() == ["People"]


def test_an_answer_that_comes_late_does_not_overwrite_a_newer_one(page: Page, client: Client) -> None:
    enroll_doubtful(client, "late")
    page.goto("/#/people/late")
    see_people(page)
    page.locator("summary", has_text="Last changes").click()
    held: list[Route] = []
    page.route("**/people?*", lambda route: held.append(route), times=1)
    page.get_by_label("Find a name").fill("ada")
    until(page, held)
    page.get_by_label("Find a name").fill("be")
    only_bea(page)
    held[0].continue_()
    page.wait_for_timeout(300)
    only_bea(page)


def test_a_late_answer_leaves_the_focus_where_the_operator_went(page: Page, client: Client) -> None:
    enroll_doubtful(client, "went")
    client.enroll("went", [view(21, 21, 1.0, number) for number in range(3)])
    client.enroll("went", [view(22, 22, 1.0, number) for number in range(3)])
    page.goto("/#/unknown/went")
    boxes = page.get_by_label("Who is it?")
    boxes.nth(2).wait_for()
    held: list[Route] = []
    page.route("**/clusters/name", lambda route: held.append(route), times=1)
    boxes.first.fill("zoe")
    page.keyboard.press("Enter")
    until(page, held)
    boxes.nth(2).focus()
    page.keyboard.type("yv")
    held[0].continue_()
    page.locator(".change").wait_for()
    page.keyboard.type("es")
    assert boxes.nth(1).input_value() == "yves"


def test_no_key_is_made_on_a_page_that_may_still_go(page: Page, client: Client) -> None:
    held: list[Route] = []
    page.route("**/console/keys", lambda route: held.append(route), times=1)
    page.goto("/#/keys")
    until(page, held)
    make = page.get_by_role("button", name="Make a key")
    assert make.count() == 0
    held[0].continue_()
    make.wait_for()


def test_a_cluster_that_a_link_leads_to_is_named_before_the_others_are_there(
    page: Page, client: Client
) -> None:
    for person in (21, 22):
        client.enroll("early", [view(person, person, 1.0, number) for number in range(3)])
    first = client.clusters("early").clusters[0].cluster
    held: list[Route] = []
    page.route(re.compile(r"/clusters\?"), lambda route: held.append(route), times=1)
    page.goto(f"/#/unknown/early?cluster={first}")
    until(page, held)
    page.get_by_label("Who is it?").fill("zoe")
    page.keyboard.press("Enter")
    page.locator(".change", has_text="3 crops are called zoe now").wait_for()
    page.get_by_text("3 crops have no name").first.wait_for()
    held[0].abort()
    page.locator(".notice.bad", has_text=LOST).first.wait_for()
    page.locator(".lost").wait_for(state="hidden")
    assert page.locator(".change", has_text="3 crops are called zoe now").is_visible()
    assert page.locator("li.cluster h2").all_inner_texts() == ["3 crops"]
