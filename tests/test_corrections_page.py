"""docs/corrections.md: every command is run against the whole service, and undone as it says."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi.testclient import TestClient
from resight_client import Client, ResightError

from resight import app as commands
from server.auth import Auth
from server.gallery.records import NewItem
from server.http.app import create_app
from server.service import Service
from tests.tiny import make_tiny_bundle, open_tiny, picture

PAGE = (Path(__file__).parent.parent / "docs/corrections.md").read_text()
LINES = re.findall(r"^    ((?:resight|curl|client\.).*)$", PAGE, re.MULTILINE)
COMMANDS: Any = typer.main.get_group(commands)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with three items of ada, one of visitor-7, two of somebody unknown, and one that shows
    visitor-7 without the name, at site `lobby`."""
    folder = tmp_path_factory.mktemp("page")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    names = ("ada", "ada", "ada", "visitor-7", None, None, None)
    records = [NewItem("dor", name) for name in names]
    pictures = [picture(seed) for seed in (0, 1, 2, 3, 4, 4, 3)]
    asyncio.run(opened.enrolling.enroll("lobby", pictures, records))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def http(service: Service) -> TestClient:
    """The HTTP application, without a port."""
    return TestClient(create_app(service, Auth(service.store, required=False)))


@pytest.fixture
def client(http: TestClient) -> Client:
    """A client of it."""
    opened = Client("http://here")
    opened.http = http
    return opened


def state(client: Client) -> tuple[Any, Any]:
    """What was corrected, but for revisions."""
    items = [(i.id, i.identity, i.camera, i.captured_at, i.metadata) for i in client.iter_items("lobby")]
    return items, client.people("lobby", include_hidden=True)


def test_the_page_has_its_commands() -> None:
    assert len(LINES) == 25


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_page_does_what_it_says_and_is_undone(
    line: str, client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [item.id for item in client.iter_items("lobby", identity="ada")]
    done = client.update(items[0], {"metadata": {}}, revision=client.item(items[0]).revision)
    assert done.entry is None
    before = state(client)
    entry = entry_of(line, items, client, monkeypatch, capsys)
    if not any(word in line for word in (" list ", " show ", " undo ", " map ", "crop_map")):
        assert state(client) != before or "different" in line
        assert entry is not None
        client.undo(entry)
    assert state(client) == before


def entry_of(
    line: str,
    items: list[str],
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> int | None:
    """Runs a line; the entry that it made."""
    revision = client.item(items[0]).revision
    line = line.replace("CLUSTER", client.clusters("lobby").clusters[0].cluster)
    if "CASE" in line:
        line = line.replace("CASE", client.review("lobby").cases[0].case)
    line = line.replace("ITEM ITEM", f"{items[0]} {items[1]}").replace("ITEM", items[0])
    line = line.replace('"identity": "ada"', '"identity": "cy"').replace("--identity ada", "--identity cy")
    if line.startswith("client."):
        line = line.replace("(item,", f"({items[0]!r},").replace("revision=1", f"revision={revision}")
        answer = eval(line, {"client": client})
        return None if "crop_map" in line else int(answer.entry)
    if line.startswith("curl"):
        words = shlex.split(line.replace('"revision": 1', f'"revision": {revision}'))
        body, path = json.loads(words[words.index("-d") + 1]), words[-1].partition("8000")[2]
        response = client.http.request(words[words.index("-X") + 1], path, json=body)
        assert response.status_code == 200, response.text
        return int(response.json()["entry"])
    if "ENTRY" in line:
        line = line.replace("ENTRY", str(client.hide("lobby", "ada").entry))

    @contextmanager
    def connect(server: str, api_key: str | None) -> Iterator[Client]:
        yield client

    monkeypatch.setattr("cli.corrections.connect", connect)
    monkeypatch.setattr("cli.clusters.connect", connect)
    monkeypatch.setattr("cli.review.connect", connect)
    with pytest.raises(SystemExit) as ended:
        COMMANDS.main(shlex.split(line)[1:], "resight")
    printed = capsys.readouterr().out
    assert ended.value.code == 0, printed
    said = re.search(r"resight journal undo (\d+)", printed)
    return int(said[1]) if said is not None else None


def test_the_list_of_cases_prints_why_each_is_asked_and_both_sides(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = client.review("lobby").cases[0]
    client.answer_review("lobby", case.case, "skip")
    monkeypatch.setattr("cli.review.connect", lambda server, key: nullcontext(client))
    with pytest.raises(SystemExit):
        COMMANDS.main(["review", "list", "--site", "lobby"], "resight")
    printed = capsys.readouterr().out
    assert f"{case.case}  {case.reason} (skipped)" in printed
    for side in case.sides:
        said = f"{side.identity or 'no name'}, {side.items} item(s): {side.evidence[0].id}"
        assert said in printed


def test_both_writers_are_told_by_the_client(client: Client) -> None:
    item = next(client.iter_items("lobby"))
    with pytest.raises(ResightError, match="was changed meanwhile") as caught:
        client.update(item.id, {"identity": "cy"}, revision=item.revision - 1)
    assert caught.value.facts["revision"] == item.revision
    with pytest.raises(ResightError, match="filter is no JSON"):
        client.update_items("lobby", {"identity": "cy"}, filter="{")


def test_erased_people_leave_the_journal_and_the_files(service: Service, client: Client) -> None:
    records = [NewItem("dor", "Zerlina Onomatopoeia"), NewItem("dor", "Balthasar Quux")]
    asyncio.run(service.enrolling.enroll("garage", [picture(20), picture(21)], records))
    zerlina, balthasar = [item.id for item in client.iter_items("garage")]
    client.hide("garage", "Zerlina Onomatopoeia")
    client.set_different("garage", "Zerlina Onomatopoeia", other="Balthasar Quux")
    client.update(balthasar, {"identity": "Zerlina Onomatopoeia"})  # by mistake, and corrected
    corrected = client.update(balthasar, {"identity": "Balthasar Quux"}).entry
    client.set_different("garage", "Zerlina Onomatopoeia", item=balthasar)
    renamed = client.rename("garage", "Zerlina Onomatopoeia", "Wilhelmina Flabbergast").entry
    assert corrected is not None and renamed is not None
    assert client.erase_identity("garage", "Wilhelmina Flabbergast").purged
    rest = json.dumps([service.store.audit.lines()]) + str(client.journal("garage"))
    folder = Path(str(service.settings.data))
    files = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    for name in ("Wilhelmina", "Flabbergast", "Zerlina", "Onomatopoeia", zerlina):
        assert name not in rest
        assert name.encode() not in files
    assert client.journal("garage").entries[0].items == 2  # hers, and the one that was denied
    with pytest.raises(ResightError, match="was erased"):
        client.undo(renamed)
    client.delete_site("garage")
    files = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert b"Balthasar" not in files
