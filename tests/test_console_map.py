"""The console's map of crops, in a real browser: what is drawn around is chosen in the contact sheet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resight_client import Client
from resight_client.corrected import Point

from tests.chromium import client_after, server_with_keys
from tests.test_console_people import crop, enroll, names_of, tab_to

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

LEFT = ((0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99))
RIGHT = ((0.5, 0.01), (0.99, 0.01), (0.99, 0.99), (0.5, 0.99))
TOUCH = "canvas => getComputedStyle(canvas).touchAction"
WHOLE = ((0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99))


server, client = server_with_keys(), client_after(lambda client: client.enroll("lobby", [crop(0, 0)]))


def right_of_middle(points: list[Point]) -> set[str]:
    """Ids of the items that lie in the right half of a map."""
    middle = (min(point.x for point in points) + max(point.x for point in points)) / 2
    return {point.item for point in points if point.x > middle}


def side_of(client: Client, site: str, item: str) -> tuple[tuple[float, float], ...]:
    """The half of ada's map in which an item lies."""
    return RIGHT if item in right_of_middle(client.crop_map(site, identity="ada").points) else LEFT


def opened_map(page: Page, count: int) -> Locator:
    """The map of so many crops, unfolded and drawn."""
    page.locator("summary", has_text="Map of these crops").click()
    drawn = page.get_by_role("img", name=f"Map of {count} crops")
    drawn.wait_for()
    return drawn


def draw_around(
    page: Page, drawn: Locator, line: tuple[tuple[float, float], ...], release: bool = True
) -> None:
    """Draws a line with the mouse; its places are parts of the map's width and height."""
    drawn.scroll_into_view_if_needed()
    box = drawn.bounding_box()
    assert box is not None
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in line]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    if release:
        page.mouse.up()


def chosen(page: Page) -> int:
    """How many crops of the sheet are shown as chosen."""
    return page.locator('.sheet .crop[aria-pressed="true"]').count()


def test_what_is_drawn_around_is_chosen_in_the_sheet_and_split_off(page: Page, client: Client) -> None:
    enroll(client, "split", "ada", 1)
    others = enroll(client, "split", "ada", 2, 2)
    page.goto("/#/people/split?person=ada")
    drawn = opened_map(page, 6)
    page.get_by_text("This plane shows").first.wait_for()
    assert drawn.evaluate(TOUCH) == "none"
    draw_around(page, drawn, side_of(client, "split", others[0]))
    page.get_by_role("button", name="Split off 2 crops").wait_for()
    assert chosen(page) == 2
    page.get_by_role("button", name="Split off 2 crops").click()
    page.get_by_label("Name", exact=True).fill("bea")
    page.keyboard.press("Enter")
    page.get_by_role("img", name="Map of 4 crops").wait_for()  # it shows who is left
    assert names_of(client, "split") == {"ada": 4, "bea": 2}
    assert [client.item(item).identity for item in others] == ["bea", "bea"]


def test_drawing_adds_a_click_gives_up_and_escape_draws_nothing(page: Page, client: Client) -> None:
    ids = enroll(client, "click", "ada", 1, 2)
    page.goto("/#/people/click?person=ada")
    drawn = opened_map(page, 2)
    draw_around(page, drawn, WHOLE, release=False)
    page.keyboard.press("Escape")
    page.mouse.up()
    assert chosen(page) == 0
    side = side_of(client, "click", ids[0])
    draw_around(page, drawn, side)
    page.get_by_text("1 chosen").first.wait_for()
    draw_around(page, drawn, LEFT if side == RIGHT else RIGHT)
    page.get_by_text("2 chosen").first.wait_for()
    box = drawn.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 50, box["y"] + box["height"] / 2)  # two crops lie at both ends
    page.get_by_text("1 chosen").first.wait_for()
    page.get_by_role("button", name="Choose none").click()
    page.get_by_text("1 chosen").wait_for(state="detached")
    assert chosen(page) == 0
    assert client.crop_map("click", identity="ada").items == 2


def test_arrow_keys_and_space_choose_what_the_map_shows_by_the_mouse(page: Page, client: Client) -> None:
    ids = enroll(client, "keyboard", "ada", 1, 12)
    page.goto("/#/people/keyboard?person=ada")
    tab_to(page, "Choose several")
    page.keyboard.press("Enter")
    tab_to(page, "Map of these crops")
    page.keyboard.press("Enter")
    page.get_by_role("img", name="Map of 12 crops").wait_for()
    columns = page.evaluate(
        "new Set([...document.querySelectorAll('.sheet .crop')].map(cell => cell.style.left)).size"
    )
    assert 1 < columns < 12
    page.locator(".sheet .crop").first.focus()
    page.keyboard.press("ArrowLeft")  # there is none before the first
    page.keyboard.press("Space")
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    page.keyboard.press("Space")
    page.get_by_text("2 chosen").first.wait_for()
    tab = "document.activeElement.textContent"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    page.get_by_text("1 chosen").first.wait_for()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(tab) == "Choose none"
    page.get_by_role("button", name="Split off 1 crop").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Name", exact=True).wait_for()
    page.keyboard.type("bea")
    page.keyboard.press("Enter")
    page.locator(".lead", has_text="11 crops").wait_for()
    assert client.item(ids[columns + 1]).identity == "bea"


def test_some_crops_of_a_cluster_get_a_name_and_the_others_go_on_waiting(page: Page, client: Client) -> None:
    ids = enroll(client, "cluster", None, 1, 6)
    page.goto("/#/unknown/cluster")
    page.get_by_role("button", name="Choose some of them").click()
    drawn = opened_map(page, 6)
    right = len(right_of_middle(client.crop_map("cluster", cluster=ids[0]).points))
    count = min(right, 6 - right)
    draw_around(page, drawn, RIGHT if right == count else LEFT)
    name = page.get_by_role("button", name=re.compile(f"Name {count} crops?$"))
    name.wait_for()
    assert chosen(page) == count
    name.click()
    page.get_by_label("Name", exact=True).fill("ada")
    page.keyboard.press("Enter")
    page.get_by_role("button", name=f"Name all {6 - count}").wait_for()
    assert names_of(client, "cluster") == {"ada": count}
    page.locator("summary", has_text="Last changes").click()
    page.get_by_role("button", name="Undo entry").click()
    page.get_by_text("6 crops have no name.").first.wait_for()
    assert names_of(client, "cluster") == {}


def test_of_a_cluster_that_somebody_named_in_part_nothing_is_named_unseen(page: Page, client: Client) -> None:
    ids = enroll(client, "part", None, 1, 5)
    page.goto("/#/unknown/part")
    page.get_by_role("button", name="Choose some of them").click()
    draw_around(page, opened_map(page, 5), WHOLE)
    page.get_by_role("button", name="Name 5 crops").click()
    client.update_items("part", {"identity": "bea"}, items=ids[1:2])
    page.get_by_label("Name", exact=True).fill("ada")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("was changed meanwhile").first.wait_for()
    assert page.get_by_label("Name", exact=True).input_value() == "ada"
    assert names_of(client, "part") == {"bea": 1}
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Name all 4").wait_for()


def test_a_map_of_many_crops_is_drawn_with_few_elements_and_chooses_also_those_far_below(
    page: Page, client: Client
) -> None:
    for start in range(0, 600, 100):
        crops = [crop(1, number) for number in range(start, start + 100)]
        client.enroll("many", crops, records=[{"identity": "ada"}] * 100)
    page.goto("/#/people/many?person=ada")
    drawn = opened_map(page, 600)
    draw_around(page, drawn, WHOLE)
    page.get_by_role("button", name="Split off 600 crops").wait_for()
    assert page.evaluate("document.querySelectorAll('*').length") < 500


def test_a_read_key_sees_the_map_and_chooses_nothing(readers: BrowserContext, client: Client) -> None:
    enroll(client, "read", "ada", 1)
    tab = readers.new_page()
    tab.goto("/#/people/read?person=ada")
    drawn = opened_map(tab, 4)
    assert drawn.evaluate(TOUCH) == "auto"  # a finger scrolls the page where nothing can be drawn
    draw_around(tab, drawn, WHOLE)
    assert tab.locator("[aria-pressed]").count() == 0
    assert tab.get_by_text("Draw around crops").count() == 0


def test_the_map_follows_the_colours_of_the_page(page: Page, client: Client) -> None:
    enroll(client, "colours", "ada", 1)
    page.goto("/#/people/colours?person=ada")
    drawn = opened_map(page, 4)
    draw_around(page, drawn, WHOLE)
    page.get_by_text("4 chosen").first.wait_for()
    accents = set()
    for theme in ("light", "dark"):
        page.locator("select.theme").select_option(theme)
        accents.add(
            drawn.evaluate(
                """canvas => {
                  const { width, height } = canvas;
                  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                  const counts = {};
                  for (let at = 0; at < data.length; at += 4) {
                    if (data[at + 3] !== 255) continue;
                    const colour = `${data[at]},${data[at + 1]},${data[at + 2]}`;
                    counts[colour] = (counts[colour] || 0) + 1;
                  }
                  return ["18,86,94", "134,205,208"].find(colour => counts[colour] > 50);
                }"""
            )
        )
    assert accents == {"18,86,94", "134,205,208"}
