"""The console's pages for people, unknown people and calibration, in a real browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from resight_client import Client

from server.calibration import FEWEST_ANSWERS, FEWEST_PEOPLE
from tests.chromium import client_after, server_with_keys
from tests.console_site import enroll_labelled
from tests.test_calibration import PEOPLE
from tests.test_calibration import crop as labelled_crop
from tests.test_calibration_labels import seconds
from tests.tiny import COLUMNS, ROWS, picture, png_of

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

CAMERAS = ("door", "hall")


server, client = server_with_keys(), client_after(lambda client: client.enroll("lobby", [picture(0)]))


def crop(person: int, number: int, noise: int = 4) -> bytes:
    """A crop of somebody: one colour a block, about as in the person's other crops."""
    colours = np.random.default_rng(person).integers(0, 256, (ROWS, COLUMNS, 3))
    moved = np.random.default_rng((person, number)).integers(-noise, noise + 1, colours.shape)
    return png_of((colours + moved).clip(0, 255).astype(np.uint8))


def enroll(client: Client, site: str, name: str | None, person: int, count: int = 4) -> list[str]:
    """Ids of new items: crops of a person by two cameras in turn."""
    records = [{"identity": name, "camera": CAMERAS[number % 2]} for number in range(count)]
    crops = [crop(person, number) for number in range(count)]
    return [item.id for item in client.enroll(site, crops, records=records).items]


def names_of(client: Client, site: str) -> dict[str, int]:
    """How many items of a site bear each name, hidden people too."""
    people = client.people(site, include_hidden=True).people
    return {person.identity: person.items for person in people}


def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the control of this name has the focus, once it is there."""
    page.get_by_text(name, exact=True).first.wait_for()
    for _ in range(60):
        if page.evaluate("document.activeElement.textContent || document.activeElement.ariaLabel") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not come to {name!r}")


def test_a_person_is_renamed_and_that_is_undone_by_keyboard_alone(page: Page, client: Client) -> None:
    enroll(client, "keys", "visitor-1", 1)
    page.goto("/#/people/keys")
    page.get_by_role("link", name="visitor-1").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="visitor-1").wait_for()
    tab_to(page, "Rename or merge")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "Rename or merge"
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.type("ada & bea/7?")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="ada & bea/7?").wait_for()
    assert names_of(client, "keys") == {"ada & bea/7?": 4}
    tab_to(page, "Last changes")
    page.keyboard.press("Enter")
    page.get_by_text("visitor-1 was renamed ada & bea/7?").first.wait_for()
    tab_to(page, "Undo")
    page.keyboard.press("Enter")
    page.get_by_text("Nobody at keys is called ada & bea/7? any more").first.wait_for()
    assert names_of(client, "keys") == {"visitor-1": 4}
    page.get_by_text("undone by").first.wait_for()
    page.locator("summary:focus", has_text="Last changes").wait_for()


def test_a_page_that_is_still_loading_leaves_the_focus_where_the_operator_moved_it(
    page: Page, client: Client
) -> None:
    enroll(client, "focus", "visitor-1", 1)
    page.goto("/#/people/focus")
    page.get_by_role("link", name="visitor-1").wait_for()
    held: list[Route] = []
    page.route("**/gallery?*", lambda route: held.append(route))
    page.get_by_role("link", name="visitor-1").click()
    tab_to(page, "Rename or merge")
    while not held:
        page.wait_for_timeout(10)
    page.evaluate("document.getElementById('status').textContent = ''")  # it is said when a page is complete
    for route in held:
        route.continue_()
    page.locator("#status", has_text="People").wait_for(state="attached")
    assert page.evaluate("document.activeElement.textContent") == "Rename or merge"


def test_a_merge_is_done_after_it_was_shown_how_alike_both_are(page: Page, client: Client) -> None:
    enroll(client, "merge", "ada", 1)
    enroll(client, "merge", "zoe", 2)
    client.enroll("merge", [crop(1, 9)], records=[{"identity": "visitor-9"}])
    page.goto("/#/people/merge?person=visitor-9")
    page.get_by_role("button", name="Rename or merge").click()
    dialog = page.get_by_role("dialog")
    suggested = dialog.locator(".alikes .crop")
    suggested.nth(1).wait_for()
    assert suggested.first.inner_text().startswith("ada")
    suggested.first.click()
    offer = dialog.locator(".offer")
    offer.get_by_role("button", name="Merge visitor-9 into ada").wait_for()
    shown = [float(value) for value in re.findall(r"[01]\.\d\d", offer.inner_text())]
    assert len(shown) == 2
    assert all(value > 0.9 for value in shown)
    assert names_of(client, "merge") == {"ada": 4, "visitor-9": 1, "zoe": 4}  # only shown as yet
    offer.get_by_role("button", name="Merge visitor-9 into ada").click()
    page.get_by_role("heading", name="ada").wait_for()
    assert names_of(client, "merge") == {"ada": 5, "zoe": 4}
    page.locator("summary", has_text="Last changes").click()
    page.get_by_role("button", name="Undo entry").click()
    page.locator(".lead", has_text="4 crops").wait_for()
    assert names_of(client, "merge") == {"ada": 4, "visitor-9": 1, "zoe": 4}


def test_crops_are_split_off_under_a_new_name_and_given_to_somebody_known(page: Page, client: Client) -> None:
    ids = enroll(client, "split", "ada", 1)
    page.goto("/#/people/split?person=ada")
    page.get_by_role("button", name="Choose several").click()
    page.locator(".sheet .crop").nth(1).click()
    page.locator(".sheet .crop").nth(2).click()
    page.get_by_role("button", name="Split off 2 crops").click()
    page.get_by_label("Name", exact=True).fill("bea")
    page.keyboard.press("Enter")
    page.locator(".lead", has_text="2 crops").wait_for()
    assert [client.item(item).identity for item in ids] == ["ada", "bea", "bea", "ada"]
    page.locator(".sheet .crop").nth(1).click()
    page.get_by_role("button", name="Split off 1 crop").click()
    page.get_by_label("Name", exact=True).fill("bea")
    page.keyboard.press("Enter")
    page.get_by_text("bea is a person here already, with 2 crops.").first.wait_for()
    assert names_of(client, "split") == {"ada": 2, "bea": 2}
    page.get_by_role("button", name="Give 1 crop to bea").click()
    page.locator(".lead", has_text="1 crop").wait_for()
    assert [client.item(item).identity for item in ids] == ["ada", "bea", "bea", "bea"]


def test_a_person_is_hidden_shown_again_and_gets_another_picture(page: Page, client: Client) -> None:
    ids = enroll(client, "hide", "ada", 1)
    page.goto("/#/people/hide?person=ada")
    page.get_by_role("button", name="Choose several").click()
    page.locator(".sheet .crop").nth(1).click()
    page.get_by_role("button", name="Let it stand for the person").click()
    page.locator(".sheet .crop").nth(1).get_by_text("stands for the person").first.wait_for()
    assert client.people("hide").people[0].feature == ids[1]
    page.get_by_role("button", name="Hide from answers").click()
    page.get_by_role("button", name="Show in answers again").wait_for()
    assert client.query("hide", crop(1, 9), group_by="identity").people == []
    page.get_by_role("link", name="All people").click()
    page.get_by_text("There is nobody to show").first.wait_for()
    page.get_by_label("Hidden people, too").check()
    page.get_by_role("link", name="ada").click()
    page.get_by_role("button", name="Show in answers again").click()
    page.get_by_role("button", name="Hide from answers").wait_for()
    assert client.query("hide", crop(1, 9), group_by="identity").people[0].identity == "ada"


def test_of_two_operators_on_one_person_the_second_is_told_and_loses_nothing(
    page: Page, context: BrowserContext, client: Client
) -> None:
    ids = enroll(client, "two", "ada", 1)
    page.goto("/#/people/two?person=ada")
    page.get_by_role("button", name="Choose several").click()
    page.locator(".sheet .crop").first.click()
    page.locator(".sheet .crop").nth(3).click()
    page.get_by_role("button", name="Split off 2 crops").click()
    page.get_by_label("Name", exact=True).fill("zoe")
    client.split("two", "ada", [ids[0]], "bea")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text(
        "is not 'ada' but 'bea' by now; nothing was changed"
    ).first.wait_for()
    assert page.get_by_label("Name", exact=True).input_value() == "zoe"
    assert names_of(client, "two") == {"ada": 3, "bea": 1}
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Split off 1 crop").wait_for()  # the other one is still chosen
    other = context.new_page()
    other.goto("/#/people/two?person=ada")
    other.get_by_role("button", name="Rename or merge").click()
    other.get_by_label("Name", exact=True).fill("ada lovelace")
    other.keyboard.press("Enter")
    other.get_by_role("heading", name="ada lovelace").wait_for()
    other.close()
    page.get_by_role("button", name="Rename or merge").click()
    page.get_by_label("Name", exact=True).fill("carl")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("has nobody called 'ada'").first.wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Nobody at two is called ada any more").first.wait_for()
    page.get_by_text("ada was renamed ada lovelace").first.wait_for()
    assert names_of(client, "two") == {"ada lovelace": 3, "bea": 1}


def test_people_are_found_by_name_and_few_elements_hold_many(page: Page, client: Client) -> None:
    records = [{"identity": f"person-{number:03}"} for number in range(180)]
    client.enroll("crowd", [picture(number) for number in range(180)], records=records)
    page.goto("/#/people/crowd")
    page.locator(".sheet .crop").first.wait_for()
    assert page.evaluate("document.querySelectorAll('*').length") < 500
    page.keyboard.press("End")
    page.locator(".sheet .crop", has_text="person-179").wait_for()
    page.keyboard.press("Home")
    page.locator(".sheet .crop", has_text="person-000").wait_for()
    page.evaluate("scrollTo(0, 900)")
    page.locator(".sheet .crop", has_text="person-000").wait_for(state="detached")
    page.evaluate("scrollTo(0, 0)")
    page.locator(".sheet .crop", has_text="person-000").wait_for()
    shown = page.locator(".sheet .crop b").all_inner_texts()
    assert shown == sorted(shown)  # which is the order of Tab
    page.get_by_label("Find a name").fill("N-17")
    page.locator(".sheet .crop", has_text="person-17").nth(9).wait_for()
    page.locator(".sheet .crop", has_text="person-000").wait_for(state="detached")
    assert page.locator(".sheet .crop b").all_inner_texts() == [f"person-17{digit}" for digit in range(10)]


def test_a_read_key_sees_people_and_cannot_change_them(readers: BrowserContext, client: Client) -> None:
    enroll(client, "read", "ada", 1)
    client.rename("read", "ada", "bea")
    tab = readers.new_page()
    tab.goto("/#/people/read?person=bea")
    tab.locator(".sheet .crop").nth(3).wait_for()
    image = tab.locator(".sheet img").first
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8
    tab.locator("summary", has_text="Last changes").click()
    tab.get_by_text("ada was renamed bea").first.wait_for()
    for name in ("Rename or merge", "Hide from answers", "Choose several", "Undo"):
        assert tab.get_by_role("button", name=name).count() == 0
    tab.close()


def enroll_unknown(client: Client, site: str, **named: int) -> None:
    """Three people without a name, of 5, 4 and 3 crops, and some with one: name=person."""
    for place, person in enumerate((11, 12, 13)):
        enroll(client, site, None, person, 5 - place)
    for name, person in named.items():
        enroll(client, site, name, person)


def test_unknown_people_are_named_as_a_whole_one_enter_each_and_that_is_undone(
    page: Page, client: Client
) -> None:
    enroll_unknown(client, "unknown")
    page.goto("/#/unknown/unknown")
    page.get_by_text("12 crops have no name.").first.wait_for()
    assert page.locator(".cluster h2").all_inner_texts() == ["5 crops", "4 crops", "3 crops"]
    page.locator(".cluster").first.locator(".crop").nth(4).wait_for()
    assert page.locator(".cluster").first.locator(".crop").count() == 5
    page.get_by_label("Who is it?").first.focus()
    page.keyboard.type("ada")
    page.keyboard.press("Enter")
    page.locator(".change", has_text="5 crops are called ada now.").wait_for()
    page.keyboard.type("not her")
    page.keyboard.press("Escape")
    page.keyboard.type("bea")
    page.keyboard.press("Enter")
    page.locator(".change", has_text="4 crops are called bea now.").wait_for()
    page.get_by_text("3 crops have no name.").first.wait_for()
    assert names_of(client, "unknown") == {"ada": 5, "bea": 4}
    page.get_by_role("button", name="Undo").first.click()
    page.locator(".cluster h2", has_text="5 crops").wait_for()
    page.get_by_text("8 crops have no name.").first.wait_for()
    assert page.evaluate("document.activeElement.value") == "ada"  # what was typed is still there
    assert names_of(client, "unknown") == {"bea": 4}


def test_a_search_leads_from_an_unknown_person_to_the_whole_cluster(page: Page, client: Client) -> None:
    enroll_unknown(client, "found")
    clusters = {each.items: each.cluster for each in client.clusters("found").clusters}
    page.goto("/#/search/found")
    shown = {"name": "a.png", "mimeType": "image/png", "buffer": crop(13, 9)}
    page.locator(".well input[type=file]").set_input_files([shown])
    page.locator(".person").first.get_by_role("link", name="Unknown person").click()
    page.get_by_role("heading", name="Other unknown people").wait_for()
    page.locator(".cluster").nth(2).wait_for()
    assert page.locator(".cluster h2").all_inner_texts() == ["3 crops", "5 crops", "4 crops"]
    page.get_by_label("Who is it?").first.fill("cy")
    page.keyboard.press("Enter")
    page.locator(".change", has_text="3 crops are called cy now.").wait_for()
    assert names_of(client, "found") == {"cy": 3}
    page.goto("/#/search/found")
    page.goto(f"/#/unknown/found?cluster={clusters[3]}")
    page.get_by_text("These crops do not stand together any more").first.wait_for()
    page.locator(".cluster h2", has_text="5 crops").wait_for()


def test_the_person_whom_a_cluster_looks_most_like_is_suggested(page: Page, client: Client) -> None:
    enroll_unknown(client, "suggest", zoe=12, ada=99)
    page.goto("/#/unknown/suggest")
    row = page.locator(".cluster", has_text="4 crops")
    row.locator(".nearest", has_text="zoe").click()
    assert row.get_by_label("Who is it?").input_value() == "zoe"
    assert names_of(client, "suggest") == {"ada": 4, "zoe": 4}
    page.keyboard.press("Enter")
    page.locator(".change", has_text="4 crops were added to zoe, who was known already.").wait_for()
    assert names_of(client, "suggest") == {"ada": 4, "zoe": 8}
    page.get_by_role("link", name="Look at zoe").click()
    page.locator(".lead", has_text="8 crops").wait_for()


def test_a_cluster_that_somebody_else_named_or_that_grew_is_not_named_unseen(
    page: Page, client: Client
) -> None:
    enroll_unknown(client, "race")
    page.goto("/#/unknown/race")
    boxes = page.get_by_label("Who is it?")
    boxes.nth(2).wait_for()
    clusters = client.clusters("race").clusters
    client.name_cluster("race", clusters[0].cluster, "ada")
    boxes.first.fill("carl")
    page.keyboard.press("Enter")
    told = page.get_by_text("Somebody was faster: these crops are called ada by now.")
    told.wait_for()
    assert "Your name for them, carl, was not given." in told.inner_text()
    assert names_of(client, "race") == {"ada": 5}
    client.enroll("race", [crop(12, 50)])
    boxes.first.fill("dora")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("has 5 items by now, and you have seen 4").first.wait_for()
    page.get_by_role("button", name="Name all 5").wait_for()
    assert boxes.first.input_value() == "dora"
    assert names_of(client, "race") == {"ada": 5}
    boxes.first.press("Enter")
    page.locator(".change", has_text="5 crops are called dora now.").wait_for()
    assert names_of(client, "race") == {"ada": 5, "dora": 5}


def test_all_crops_of_a_large_cluster_are_shown_and_more_clusters_come(page: Page, client: Client) -> None:
    enroll(client, "large", None, 1, 12)
    for person in range(2, 10):
        enroll(client, "large", None, person, 3)
    page.goto("/#/unknown/large")
    page.get_by_role("button", name="Show all 12").click()
    page.locator(".sheet .crop").nth(7).wait_for()
    page.get_by_role("button", name="Show fewer").click()
    page.locator(".sheet").wait_for(state="detached")
    assert page.locator(".cluster").count() == 5
    page.get_by_label("Who is it?").last.fill("the last one that is shown")
    page.keyboard.press("Enter")
    page.locator(".change", has_text="3 crops are called the last one that is shown now.").wait_for()
    last = client.clusters("large").clusters[3]
    client.name_cluster("large", last.cluster, "named by somebody else")  # behind which the page goes on
    page.get_by_role("button", name="Show more").click()
    page.locator(".cluster").nth(6).wait_for()
    page.get_by_role("button", name="Show more").click()
    page.locator(".cluster").nth(8).wait_for()
    assert page.get_by_label("Who is it?").count() == 8


def test_a_read_key_sees_unknown_people_and_cannot_name_them(readers: BrowserContext, client: Client) -> None:
    enroll_unknown(client, "read-unknown", zoe=12)
    tab = readers.new_page()
    tab.goto("/#/unknown/read-unknown")
    tab.locator(".cluster").nth(2).wait_for()
    tab.locator(".nearest", has_text="zoe").first.wait_for()
    assert tab.locator("form, .nearest button").count() == 0
    tab.close()


def test_the_slider_says_which_cosine_a_rate_is_and_whom_it_misses(page: Page, client: Client) -> None:
    enroll_labelled(client, "curve")
    page.goto("/#/calibration/curve")
    page.get_by_text("Nothing says yet what scores mean at this site.").first.wait_for()
    page.get_by_role("button", name="Measure now").click()
    slider = page.get_by_label("False alarms in 1,000 queries of unknown people")
    slider.wait_for()
    assert f"{PEOPLE}, with a name and a camera" in page.locator("main").inner_text()
    slider.focus()
    missed = []
    for key, rate in (("ArrowRight", 15), ("End", 500)):
        page.keyboard.press(key)
        page.locator(".figures", has_text=f"{rate} in 1,000").wait_for()
        answer = client.query("curve", labelled_crop(0, 0, 9), threshold={"false_alarms_per_1000": rate})
        assert answer.threshold is not None
        assert f"{answer.threshold:.3f}" in page.locator(".figures").inner_text()
        missed.append(page.locator(".figures .big").nth(2).inner_text())
        assert slider.get_attribute("aria-valuetext") == f"{rate} in 1,000, {missed[-1]} missed"
    assert int(missed[0].removesuffix(" %")) > int(missed[1].removesuffix(" %"))
    page.keyboard.press("Home")
    page.get_by_text(f"That takes 317 labelled people, and {PEOPLE} were compared.").first.wait_for()
    assert page.locator("svg.curve circle").count() == 0


def test_too_few_labels_are_refused_honestly_and_what_stood_before_stands(page: Page, client: Client) -> None:
    enroll_labelled(client, "few", 20)
    page.goto("/#/calibration/few")
    page.get_by_role("button", name="Measure now").click()
    page.get_by_role("alert").get_by_text(
        "20 of its people have an identity and were seen by two"
    ).first.wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Measure now"
    page.get_by_text("Nothing says yet what scores mean at this site.").first.wait_for()


def test_an_operator_chooses_which_labels_say_who_is_who(page: Page, client: Client) -> None:
    rows = [(person, 0, number) for person in range(40) for number in range(3)]
    records = [
        {
            "camera": "c0",
            "identity": f"person-{row[0]}" if row[2] == 0 else None,
            "captured_at": datetime.fromtimestamp(seconds(row), UTC).isoformat(),
            "metadata": {"track": row[0]},
        }
        for row in rows
    ]
    client.enroll("kinds", [labelled_crop(*row) for row in rows], records=records)
    page.goto("/#/calibration/kinds")
    kind = page.get_by_label("Which labels say who is who")
    page.get_by_text("Names are taken; where they do not suffice").first.wait_for()
    button = page.get_by_role("button", name=re.compile("Measure (now|again)"))
    for label, sentence, refusal in (
        (
            "Names",
            f"seen by two cameras: {FEWEST_PEOPLE} of them",
            "0 of its people have an identity and were",
        ),
        (
            "Answers of the review queue",
            f"by at least {FEWEST_ANSWERS} answers",
            "0 answers of its review queue",
        ),
    ):
        kind.select_option(label=label)
        page.get_by_text(sentence).first.wait_for()
        button.click()
        page.get_by_role("alert").get_by_text(refusal).first.wait_for()
        assert client.site("kinds").calibration is None
    for label, name, shown in (
        ("Tracks alone", "tracklets", "is a guess, from tracks of the site"),
        ("Names and tracks", "all", "What a rate of false alarms costs"),
    ):
        kind.select_option(label=label)
        button.click()
        page.locator("main dd", has_text=re.compile(f"^{label}$")).wait_for()
        page.get_by_text(shown).first.wait_for()
        measured = client.site("kinds").calibration
        assert measured is not None and measured.measured is not None
        assert measured.measured.labels == name
        assert kind.evaluate("select => select.selectedOptions[0].textContent") == label


def test_a_read_key_sees_the_calibration_and_cannot_measure(readers: BrowserContext, client: Client) -> None:
    enroll_labelled(client, "seen")
    client.calibrate("seen")
    tab = readers.new_page()
    tab.goto("/#/calibration/seen")
    tab.locator("svg.curve circle").wait_for()
    tab.get_by_text("Measuring needs a key of scope admin.").first.wait_for()
    assert tab.get_by_role("button", name="Measure").count() == 0
    tab.close()
