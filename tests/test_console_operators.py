"""The console while somebody else is faster, and "not this person": said plainly, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from resight_client import Client

from benchmarks.serving import ServerProcess
from tests.chromium import client_after, new_key, server_with_keys, window
from tests.test_console_people import crop, enroll, names_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


server, client = server_with_keys(), client_after(lambda client: client.enroll("lobby", [crop(0, 0)]))


@pytest.fixture(scope="module")
def others(chromium: Browser, server: ServerProcess, admin: str, client: Client) -> Iterator[BrowserContext]:
    """The window of another operator, with a key and a session of their own."""
    opened = window(chromium, server, new_key(server, admin, "admin")[1])
    yield opened
    opened.close()


@pytest.fixture
def other(others: BrowserContext) -> Iterator[Page]:
    """A tab of the other operator."""
    tab = others.new_page()
    yield tab
    tab.close()


def choose(page: Page, *places: int) -> None:
    """Chooses crops of the sheet."""
    page.get_by_role("button", name="Choose several").click()
    for place in places:
        page.locator(".sheet .crop").nth(place).click()


def test_a_crop_is_said_not_to_show_the_person_and_that_is_undone(page: Page, client: Client) -> None:
    ids = enroll(client, "deny", "ada", 1)
    page.goto("/#/people/deny?person=ada")
    page.locator(".sheet .crop").nth(1).click()
    page.get_by_role("dialog").get_by_role("button", name="Not ada").click()
    page.locator(".lead", has_text="3 crops").wait_for()
    assert client.item(ids[1]).identity is None
    choose(page, 0)
    page.get_by_role("button", name="Not ada").click()
    page.locator(".lead", has_text="2 crops").wait_for()
    assert [client.item(item).identity for item in ids] == [None, None, "ada", "ada"]
    page.locator("summary", has_text="Last changes").click()
    page.get_by_text("a crop was said not to show ada").nth(1).wait_for()
    denials = [entry.entry for entry in client.journal("deny").entries]
    for entry, count in zip(denials, (3, 4), strict=True):
        page.get_by_role("button", name=f"Undo entry {entry}", exact=True).click()
        page.locator(".lead", has_text=f"{count} crops").wait_for()
    assert names_of(client, "deny") == {"ada": 4}


def test_several_chosen_crops_are_said_not_to_show_the_person(page: Page, client: Client) -> None:
    ids = enroll(client, "several", "ada", 1, 6)
    page.goto("/#/people/several?person=ada")
    choose(page, 0, 2, 3)
    page.get_by_role("button", name="Not ada: 3 crops").click()
    page.get_by_text("3 crops do not show ada").first.wait_for()
    page.locator(".lead", has_text="3 crops").wait_for()
    named = [client.item(item).identity for item in ids]
    assert named == [None, "ada", None, None, "ada", "ada"]
    for place in (0, 1, 2):
        page.locator(".sheet .crop").nth(place).click()
    page.get_by_role("button", name="Not ada: 3 crops").wait_for()
    client.erase(ids[4])  # by somebody else: those before it are noted, those behind it stay chosen
    page.get_by_role("button", name="Not ada: 3 crops").click()
    page.locator(".notice.bad").wait_for()
    page.get_by_text("1 crop does not show ada").first.wait_for()
    page.get_by_role("button", name="Not ada", exact=True).wait_for()
    assert names_of(client, "several") == {"ada": 1}
    page.get_by_role("button", name="Not ada", exact=True).click()
    page.get_by_text("Nobody at several is called ada any more").first.wait_for()
    assert names_of(client, "several") == {}


def test_a_search_by_a_crop_that_is_not_this_person_does_not_find_them_until_that_is_undone(
    page: Page, client: Client
) -> None:
    enroll(client, "search", "ada", 1)
    enroll(client, "search", "zoe", 2)
    (item,) = enroll(client, "search", None, 1, 1)
    page.goto(f"/#/search/search?item={item}")
    page.get_by_role("button", name="Not ada").click()
    page.get_by_role("heading", name="zoe", exact=True).wait_for()
    page.get_by_role("heading", name="ada", exact=True).wait_for(state="detached")
    found = client.query("search", item_id=item, group_by="identity").people
    assert [person.identity for person in found] == ["zoe"]
    page.get_by_text("a crop was said not to show ada").first.wait_for()
    page.get_by_role("button", name="Undo entry").click()
    page.get_by_role("heading", name="ada", exact=True).wait_for()


def test_evidence_of_a_search_that_shows_somebody_else_loses_the_name(page: Page, client: Client) -> None:
    enroll(client, "evidence", "ada", 1, 3)
    (wrong,) = enroll(client, "evidence", "ada", 2, 1)
    page.goto("/#/search/evidence")
    with page.expect_file_chooser() as asked:
        page.get_by_role("button", name="choose files").click()
    asked.value.set_files([{"name": "crop.png", "mimeType": "image/png", "buffer": crop(2, 9)}])
    page.locator(".person .crop").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Not ada").click()
    page.get_by_role("heading", name="No name").wait_for()
    assert client.item(wrong).identity is None
    # of the query itself nothing can be noted, since it is not enrolled
    assert page.get_by_role("button", name="Not ada").count() == 0
    page.locator("summary", has_text="Last changes").click()
    page.get_by_role("button", name="Undo entry").click()
    page.get_by_role("heading", name="No name").wait_for(state="detached")
    assert client.item(wrong).identity == "ada"


def test_a_read_key_cannot_say_that_a_crop_is_not_this_person(
    readers: BrowserContext, client: Client
) -> None:
    ids = enroll(client, "read", "ada", 1)
    tab = readers.new_page()
    tab.goto(f"/#/search/read?item={ids[0]}")
    tab.locator(".person .crop").first.click()
    tab.get_by_role("dialog").get_by_role("button", name="Search with this crop").wait_for()
    assert tab.get_by_role("button", name="Not ada").count() == 0


def test_of_a_person_who_was_renamed_nothing_is_hidden_denied_or_merged(
    page: Page, other: Page, client: Client
) -> None:
    enroll(client, "renamed", "ada", 1)
    enroll(client, "renamed", "zoe", 2)
    page.goto("/#/people/renamed?person=ada")
    page.locator(".sheet .crop").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Not ada").wait_for()
    other.goto("/#/people/renamed?person=ada")
    other.get_by_role("button", name="Rename or merge").click()
    other.get_by_label("Name", exact=True).fill("bea")
    other.keyboard.press("Enter")
    other.get_by_role("heading", name="bea").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Not ada").click()
    page.get_by_text("has nobody called 'ada'").first.wait_for()
    page.get_by_text("Nobody at renamed is called ada any more").first.wait_for()
    page.get_by_text("ada was renamed bea").first.wait_for()

    page.goto("/#/people/renamed?person=zoe")
    page.get_by_role("button", name="Hide from answers").wait_for()
    other.goto("/#/people/renamed?person=bea")
    other.get_by_role("button", name="Rename or merge").click()
    other.get_by_label("Name", exact=True).fill("zoe")
    other.keyboard.press("Enter")
    merge = other.get_by_role("button", name="Merge bea into zoe")
    merge.wait_for()
    client.rename("renamed", "zoe", "yan")
    merge.click()
    other.get_by_role("alert").get_by_text("has nobody called 'zoe'").first.wait_for()
    assert other.get_by_label("Name", exact=True).input_value() == "zoe"
    page.get_by_role("button", name="Hide from answers").click()
    page.get_by_text("has nobody called 'zoe'").first.wait_for()
    page.get_by_text("Nobody at renamed is called zoe any more").first.wait_for()
    assert names_of(client, "renamed") == {"bea": 4, "yan": 4}
    assert not any(person.hidden for person in client.people("renamed", include_hidden=True).people)


def test_a_picture_that_was_given_away_stands_for_nobody_and_the_rest_stays_chosen(
    page: Page, other: Page, client: Client
) -> None:
    ids = enroll(client, "given", "ada", 1)
    page.goto("/#/people/given?person=ada")
    choose(page, 0)
    page.get_by_role("button", name="Let it stand for the person").wait_for()
    other.goto("/#/people/given?person=ada")
    choose(other, 0)
    other.get_by_role("button", name="Split off 1 crop").click()
    other.get_by_label("Name", exact=True).fill("bea")
    other.keyboard.press("Enter")
    other.locator(".lead", has_text="3 crops").wait_for()
    page.get_by_role("button", name="Let it stand for the person").click()
    page.get_by_text("does not show 'ada'").first.wait_for()
    page.locator(".lead", has_text="3 crops").wait_for()
    assert client.people("given").people[0].feature == ids[3]


def test_crops_that_somebody_else_erased_are_told_apart_from_ones_own(
    page: Page, other: Page, client: Client
) -> None:
    ids = enroll(client, "erased", "ada", 1, 6)
    page.goto("/#/gallery/erased")
    choose(page, 0, 1, 2)
    other.goto("/#/gallery/erased")
    choose(other, 1)
    other.get_by_role("button", name="Erase 1").click()
    other.get_by_role("dialog").get_by_role("button", name="Erase").click()
    other.get_by_text("1 crop erased.").first.wait_for()
    page.get_by_role("button", name="Erase 3").click()
    page.get_by_role("dialog").get_by_role("button", name="Erase 3").click()
    page.get_by_text("2 crops erased. 1 crop had been erased by somebody else.").first.wait_for()
    assert [item.id for item in client.iter_items("erased")] == ids[3:]
    assert page.locator(".sheet .crop").count() == 3
    page.get_by_role("button", name="Done").click()
    client.erase(ids[4])
    page.locator(".sheet .crop").nth(1).click()  # looked at closely, though somebody has erased it
    page.get_by_text("there is no item").first.wait_for()
    page.locator(".sheet .crop").nth(2).wait_for(state="detached")
    assert page.locator(".sheet .crop").count() == 2


def test_a_key_that_somebody_else_revoked_is_said_and_leaves_the_list(
    page: Page, server: ServerProcess, admin: str
) -> None:
    key, _ = new_key(server, admin, "read")
    page.goto("/#/keys")
    page.get_by_role("button", name=f"Revoke {key}").click()
    httpx.delete(f"{server.url}/console/keys/{key}", headers={"X-API-Key": admin})
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    page.get_by_text(f"there is no key '{key}'").first.wait_for()
    page.get_by_role("button", name=f"Revoke {key}").wait_for(state="detached")


def test_what_somebody_else_undid_is_not_undone_again(page: Page, other: Page, client: Client) -> None:
    enroll(client, "undone", "ada", 1)
    client.rename("undone", "ada", "bea")
    for tab in (page, other):
        tab.goto("/#/people/undone?person=bea")
        tab.locator("summary", has_text="Last changes").click()
        tab.get_by_role("button", name="Undo entry").wait_for()
    other.get_by_role("button", name="Undo entry").click()
    other.get_by_text("Nobody at undone is called bea any more").first.wait_for()
    page.get_by_role("button", name="Undo entry").click()
    page.locator(".notice.bad").wait_for()
    page.get_by_text("undone by").first.wait_for()
    assert names_of(client, "undone") == {"ada": 4}
