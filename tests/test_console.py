"""The console in a real browser, against a real server: the main task of every page, and what goes wrong."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from resight_client import Client

from benchmarks.serving import ROOT, ServerProcess
from tests.chromium import client_after, empty_window, server_with_keys, sign_in
from tests.tiny import picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PEOPLE, CAMERAS = 20, ("door", "hall")


def fill(client: Client) -> None:
    """A site with people."""
    for number in range(PEOPLE):
        records = [{"identity": f"person-{number}", "camera": camera} for camera in CAMERAS]
        client.enroll("lobby", [picture(number), picture(number + 100)], records=records)


server, client = server_with_keys(), client_after(fill)


def file_of(number: int, name: str | None = None) -> dict[str, str | bytes]:
    """A picture as a file that is chosen."""
    return {"name": name or f"{number}.png", "mimeType": "image/png", "buffer": picture(number)}


def folder_of(place: Path, *numbers: int) -> Path:
    """A folder of people's pictures: PERSON/CAMERA_NUMBER.png."""
    for number in numbers:
        path = place / "crops" / f"visitor-{number}" / f"gate_{number}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(picture(number))
    return place / "crops"


def test_search_finds_the_person_and_shows_the_evidence(page: Page) -> None:
    page.goto("/#/search/lobby")
    page.locator(".well input[type=file]").set_input_files([file_of(3)])
    page.get_by_role("heading", name="person-3").first.wait_for()
    first = page.locator(".person").first
    assert first.locator("h3").inner_text() == "person-3"
    assert first.locator(".crop").count() == 2
    assert "Nearest: person-3" in page.locator(".verdict h2").inner_text()
    assert "not known" in page.locator(".verdict").inner_text()
    image = first.locator(".crop img").first
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8


def test_search_filters_and_goes_on_from_a_crop(page: Page) -> None:
    page.goto("/#/search/lobby")
    page.locator(".well input[type=file]").set_input_files([file_of(4)])
    page.locator(".person").first.wait_for()
    page.locator("summary", has_text="Cameras").click()
    page.get_by_label("hall").check()
    page.locator(".crop b", has_text="door").first.wait_for(state="detached")
    assert set(page.locator(".crop b").all_inner_texts()) == {"hall"}
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Take the filter Cameras away").click()
    page.locator(".crop b", has_text="door").first.wait_for()
    page.locator(".crop").first.click()
    page.get_by_role("button", name="Search with this crop").click()
    page.wait_for_url("**/#/search/lobby?item=*")
    page.get_by_text("An enrolled crop").first.wait_for()
    page.locator(".person").first.wait_for()


def test_search_says_what_is_no_picture_and_lives_on(page: Page) -> None:
    page.goto("/#/search/lobby")
    chooser = page.locator(".well input[type=file]")
    chooser.set_input_files([{"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"}])
    page.get_by_text("notes.txt is no picture").first.wait_for()
    chooser.set_input_files([{"name": "broken.png", "mimeType": "image/png", "buffer": b"words"}])
    page.locator(".results .error", has_text="not a JPEG, PNG").wait_for()
    page.get_by_role("button", name="Start over").click()
    page.locator(".well input[type=file]").set_input_files([file_of(5)])
    page.get_by_role("heading", name="person-5").first.wait_for()


def test_the_command_and_the_program_ask_the_same(page: Page, server: ServerProcess, admin: str) -> None:
    page.goto("/#/search/lobby")
    page.locator(".well input[type=file]").set_input_files([file_of(6, "it's 6.png")])
    page.locator(".person").first.wait_for()
    page.get_by_role("button", name="Copy as curl or Python").click()
    command, program = page.locator("dialog pre").all_inner_texts()
    folder = server.log.parent
    (folder / "it's 6.png").write_bytes(picture(6))
    asked = ["bash", "-c", command.replace("KEY", admin).replace("curl", "curl -s", 1)]
    answered = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert '"identity":"person-6"' in answered.split('"rank":2')[0]
    compile(program, "program", "exec")
    assert 'client.query("lobby", "it\'s 6.png", group_by="identity", top_k=8)' in program


def test_a_folder_is_enrolled_with_its_names_and_once(page: Page, client: Client, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 20, 21, 22)
    (folder / "visitor-20" / "notes.txt").write_text("words")
    (folder / "visitor-21" / "gate_broken.png").write_text("words")
    page.goto("/#/enroll")
    page.locator("main").get_by_label("Site", exact=True).fill("yard")
    page.get_by_label("What names say").select_option("folders")
    for _ in range(2):  # the second time, nothing more is enrolled
        page.locator("input[webkitdirectory]").set_input_files(folder)
        page.get_by_text("1 file is no picture").first.wait_for()
        page.get_by_role("button", name="Enroll 4 crops").click()
        page.get_by_text("3 crops are enrolled at yard.").first.wait_for()
        assert "visitor-21/gate_broken.png not a JPEG, PNG" in page.locator(".errors").inner_text()
    items = client.items("yard").items
    labels = {(item.identity, item.camera) for item in items}
    assert labels == {(f"visitor-{number}", "gate") for number in (20, 21, 22)}
    assert len(items) == 3


def test_the_command_line_enrolls_nothing_again_that_the_console_did(
    page: Page, client: Client, server: ServerProcess, admin: str, tmp_path: Path
) -> None:
    """Both make the same Idempotency-Key, also of names beyond ASCII."""
    path = tmp_path / "crops" / "Zoë 😀_1.png"
    path.parent.mkdir()
    path.write_bytes(picture(30))
    page.goto("/#/enroll")
    page.locator("main").get_by_label("Site", exact=True).fill("names")
    page.get_by_label("What names say").select_option("own")
    page.get_by_label("Expression").fill("(?P<identity>.+)_")
    page.locator("input[webkitdirectory]").set_input_files(path.parent)
    page.get_by_role("button", name="Enroll 1 crop").click()
    page.get_by_text("1 crop is enrolled at names.").first.wait_for()
    from typer.testing import CliRunner

    from resight import app

    words = ["enroll", str(path), "--site", "names", "--pattern", "(?P<identity>.+)_"]
    ended = CliRunner().invoke(app, [*words, "--server", server.url, "--api-key", admin])
    assert ended.exit_code == 0, ended.output
    assert [item.identity for item in client.items("names").items] == ["Zoë 😀"]


def test_sending_goes_on_when_the_connection_is_back(page: Page, client: Client, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, *range(40, 46))
    page.goto("/#/enroll")
    page.locator("main").get_by_label("Site", exact=True).fill("far")
    page.locator("input[webkitdirectory]").set_input_files(folder)
    page.context.set_offline(True)
    page.get_by_role("button", name="Enroll 6 crops").click()
    page.get_by_text("Sending goes on by itself").first.wait_for()
    page.locator(".lost").wait_for()
    page.context.set_offline(False)
    page.get_by_text("6 crops are enrolled at far.").first.wait_for()
    assert page.locator(".lost").is_hidden()
    assert len(client.items("far").items) == 6


def test_an_adaptation_is_followed_judged_and_rolled_back(page: Page, client: Client) -> None:
    page.goto("/#/site/lobby")
    page.get_by_role("heading", name="Cameras", exact=True).wait_for()
    assert "20 items, 20 names" in page.locator(".cameras").inner_text()
    page.get_by_label("What to try").select_option("0")
    page.get_by_role("button", name="Adapt this site").click()
    page.locator(".rung").wait_for()
    assert page.locator(".rung .tag").inner_text() in ("taken", "refused")
    page.locator(".matrix").nth(1).wait_for()
    page.get_by_label("What to try").select_option("0")
    page.get_by_label("The gate decides").uncheck()
    page.get_by_role("button", name="Adapt this site").click()
    page.get_by_text("It succeeded: tier 0 (centring) went live").first.wait_for()
    assert "the gate was off" in page.locator(".rung").inner_text()
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    page.get_by_text("Rolled back. Version").first.wait_for()
    assert client.site("lobby").cause == "rollback"


def test_the_gallery_keeps_few_elements_and_erases_what_is_chosen(page: Page, client: Client) -> None:
    client.enroll("many", [picture(number) for number in range(200, 380)])
    page.goto("/#/gallery/many")
    page.locator(".sheet .crop").first.wait_for()
    assert "180 items" in page.locator(".lead").inner_text()
    assert page.evaluate("document.querySelectorAll('*').length") < 500
    first = page.locator(".sheet .crop").first.element_handle()
    page.keyboard.press("End")
    first.wait_for_element_state("hidden")  # it has left the page
    assert page.evaluate("scrollY") > 500
    assert page.evaluate("document.querySelectorAll('*').length") < 500
    page.keyboard.press("Home")
    page.get_by_role("heading", name="Gallery").scroll_into_view_if_needed()
    page.get_by_role("button", name="Choose several").click()
    for number in range(3):
        page.locator(".sheet .crop").nth(number).click()
    page.get_by_role("button", name="Erase 3").click()
    page.get_by_role("dialog").get_by_role("button", name="Erase 3").click()
    page.get_by_text("3 crops erased.").first.wait_for()
    assert client.site("many").items == 177


def test_the_system_page_says_what_runs(page: Page) -> None:
    page.goto("/#/system")
    page.get_by_text("onnxruntime").first.wait_for()
    shown = page.locator("main").inner_text()
    assert "SQLite" in shown
    assert "onnxruntime: " in shown  # how its trial went


def test_a_key_is_made_and_its_sessions_end_when_it_is_revoked(page: Page, chromium: Browser) -> None:
    page.goto("/#/keys")
    page.get_by_label("Scope").select_option("read")
    page.get_by_role("button", name="Make a key").click()
    text = page.locator(".copyable pre").inner_text()
    other = empty_window(chromium, page.url.split("/#")[0])
    tab = other.new_page()
    sign_in(tab, text)
    assert tab.get_by_role("link", name="Enroll").count() == 0
    assert tab.get_by_role("link", name="Keys and audit").count() == 0
    tab.goto("/#/site/lobby")
    tab.get_by_text("need a key of scope admin").first.wait_for()
    assert tab.get_by_role("button", name="Adapt this site").count() == 0

    page.locator("tr", has_text="may look and search").last.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    page.get_by_text("was revoked.").first.wait_for()
    tab.get_by_role("link", name="System").click()
    tab.get_by_role("dialog", name="Sign in").wait_for()
    other.close()
    page.reload()
    page.get_by_text("revoked a key").first.wait_for()


def test_a_site_that_was_deleted_elsewhere_is_said_plainly(page: Page, client: Client) -> None:
    client.enroll("short", [picture(1)])
    page.goto("/#/site/short")
    page.get_by_role("button", name="Adapt this site").wait_for()
    client.delete_site("short")
    page.get_by_role("button", name="Adapt this site").click()
    page.get_by_text("short").last.wait_for()
    page.reload()
    page.get_by_text("There is no site short any more").first.wait_for()


def test_the_keyboard_alone_searches(page: Page) -> None:
    page.goto("/#/search/lobby")
    page.locator(".well input[type=file]").wait_for(state="attached")
    page.evaluate(
        """data => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }""",
        base64.b64encode(picture(8)).decode(),
    )
    page.get_by_role("heading", name="person-8").first.wait_for()
    page.locator(".crop").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.className") == "crop"


def test_the_page_loads_less_than_100_kb_of_script_and_nothing_from_elsewhere(
    page: Page, server: ServerProcess
) -> None:
    sizes: dict[str, int] = {}
    page.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
    page.goto("/#/search/lobby")
    page.get_by_role("heading", name="Search").wait_for()
    assert all(url.startswith(server.url) for url in sizes)
    assert 0 < sum(size for url, size in sizes.items() if url.endswith(".js")) < 100_000


def test_every_file_of_the_console_is_packaged() -> None:
    assert '"clients/console" = "server/console_files"' in (ROOT / "pyproject.toml").read_text()
