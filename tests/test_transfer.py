"""resight gallery export and import: what leaves a server comes back the same, and nothing else does."""

from __future__ import annotations

import base64
import json
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from resight_client import Client, Item, Match, ResightError
from typer.testing import CliRunner

from benchmarks.serving import ServerProcess
from resight import app
from tests.tiny import picture, tiny_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for this file; each test has sites of its own."""
    with tiny_server(tmp_path_factory.mktemp("transfer")) as running:
        yield running


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    """A client of it."""
    with Client(server.url) as opened:
        yield opened


def gallery(server: ServerProcess, *words: object, status: int = 0) -> str:
    """A command, in this process; what it printed."""
    result = CliRunner().invoke(app, ["gallery", *map(str, words), "--server", server.url])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code == status, result.output
    return result.output


def filled(client: Client, site: str, count: int = 12) -> list[str]:
    """Ids of items with every kind of label; two of them are copies of each other."""
    records: list[dict[str, Any]] = []
    for n in range(count - 2):
        labels = {"identity": f"p{n % 3}", "camera": "door", "captured_at": 1000.5 + n}
        records.append(labels | {"metadata": {"n": n, "ü": None}})
    images = [picture(n) for n in range(count - 2)] + [picture(99)] * 2
    return [item.id for item in client.enroll(site, images, records=[*records, {}, {}]).items]


def ranking(matches: list[Match]) -> list[tuple[Any, ...]]:
    """What a ranking says, without ids."""
    return [(m.rank, m.score, m.identity, m.camera, m.captured_at, m.metadata) for m in matches]


def test_a_site_comes_back_with_the_same_answers(
    server: ServerProcess, client: Client, tmp_path: Path
) -> None:
    filled(client, "there")
    out = tmp_path / "out"
    assert "wrote 12 item(s)" in gallery(server, "export", "--site", "there", "--out", out)
    assert "enrolled 12 of 12" in gallery(server, "import", out, "--site", "back")
    for seed in (0, 5, 99):
        there, back = (client.query(site, picture(seed), top_k=20).matches for site in ("there", "back"))
        assert ranking(there) == ranking(back)
        assert len(back) == 12
    again = gallery(server, "import", out, "--site", "back")
    assert "enrolled 12 of 12 items at back; 12 of them were there already" in again
    assert client.site("back").items == 12
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_an_import_that_was_stopped_goes_on_and_doubles_nothing(
    server: ServerProcess, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(client, "long", 20)
    gallery(server, "export", "--site", "long", "--out", tmp_path / "out")
    enroll, sent = Client.enroll, []

    def failing(self: Client, *arguments: Any, **named: Any) -> Any:
        sent.append(named["idempotency_key"])
        if len(sent) > 7:
            raise ResightError(0, "unreachable", "the cable was pulled")
        return enroll(self, *arguments, **named)

    monkeypatch.setattr(Client, "enroll", failing)
    said = gallery(server, "import", tmp_path / "out", "--site", "again", status=1)
    assert "the cable was pulled" in said and "repeat to go on" in said
    monkeypatch.undo()
    assert "enrolled 20 of 20" in gallery(server, "import", tmp_path / "out", "--site", "again")
    assert client.site("again").items == 20


def test_an_export_is_updated_and_forgets_what_was_erased(
    server: ServerProcess, client: Client, tmp_path: Path
) -> None:
    ids, out = filled(client, "moving"), tmp_path / "out"
    gallery(server, "export", "--site", "moving", "--out", out)
    (out / "images/notes.txt").write_text("mine")
    client.erase(ids[0])
    client.update(ids[1], {"identity": "new name"})
    client.enroll("moving", [picture(50)], identity="late")
    before = (out / f"images/{ids[2]}.png").stat().st_mtime_ns
    assert "wrote 12 item(s)" in gallery(server, "export", "--site", "moving", "--out", out)
    lines = [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]
    assert [line["identity"] for line in lines][:2] == ["new name", "p2"]
    assert lines[-1]["identity"] == "late"
    assert ids[0] not in (out / "items.jsonl").read_text()
    assert not list((out / "images").glob(f"{ids[0]}*"))
    assert (out / "images/notes.txt").read_text() == "mine"
    assert (out / f"images/{ids[2]}.png").stat().st_mtime_ns == before  # was not fetched again
    said = gallery(server, "export", "--site", "other", "--out", out, status=1)
    assert "holds an export of another site" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 is no JSON"),
        ("[]", "an item is an object"),
        ('{"id": "x"}', "at least id and image"),
        ('{"id": "x", "image": null, "name": "ada"}', "unknown field 'name'"),
        ('{"id": "x", "image": "images/../../secret.png"}', "is no file in images/"),
        ('{"id": "x", "image": "/etc/passwd"}', "is no file in images/"),
        ('{"id": "x", "image": "images/.."}', "is no file in images/"),
        ('{"id": "x", "image": 7}', "image 7 is no file in images/"),
        ('{"id": "x", "image": "images/gone.png"}', "there is no file"),
        ('{"id": "x", "image": "images/link.png"}', "there is no file"),
        ('{"id": "x", "image": null}', "line 2: the item has no image and no vector"),
        ('{"id": "x", "image": null, "vector": "AAA"}', "line 2: vector is no base64"),
        ('{"id": "x", "image": null, "vector": "AAAA"}', "line 2: vector is no base64"),
        ('{"id": "x", "image": null, "vector": [1.0]}', "line 2: vector is no base64"),
        ('{"id": "x", "image": null, "vector": "AACAPw=="}', "line 2: a vector needs the raw_space_id"),
        (
            '{"id": "x", "image": null, "vector": "AACAPw==", "raw_space_id": "space-0"}',
            "line 2: its vector is of raw space space-0, and site hostile takes those of space-",
        ),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_sent(
    server: ServerProcess, client: Client, tmp_path: Path, line: str, said: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "secret.png").write_bytes(picture(1))
    (images / "a.png").write_bytes(picture(2))
    os.symlink(tmp_path / "secret.png", images / "link.png")
    (tmp_path / "items.jsonl").write_text('{"id": "a", "image": "images/a.png"}\n' + line + "\n")
    assert said in gallery(server, "import", tmp_path, "--site", "hostile", status=1)
    assert "hostile" not in [site.site for site in client.sites()]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the site `bare` of a server that keeps no images: an item without labels, and one with."""
    folder = tmp_path_factory.mktemp("bare")
    with tiny_server(folder, keep_images="false") as other, Client(other.url) as elsewhere:
        elsewhere.enroll(
            "bare", [picture(0), picture(1)], records=[{}, {"identity": "ada", "camera": "door"}]
        )
        said = gallery(other, "export", "--site", "bare", "--out", folder / "out")
        answer = elsewhere.query("bare", picture(1), top_k=2).matches
    assert "the image of 2 of them was not kept: they are written with their vectors" in said
    (folder / "answer.json").write_text(json.dumps(ranking(answer)))
    return folder


def test_items_without_an_image_come_back_by_their_vectors(
    server: ServerProcess, client: Client, bare: Path
) -> None:
    lines = [json.loads(line) for line in (bare / "out/items.jsonl").read_text().splitlines()]
    assert [(line["identity"], line["image"]) for line in lines] == [(None, None), ("ada", None)]
    for _ in range(2):
        assert "enrolled 2 of 2" in gallery(server, "import", bare / "out", "--site", "vectors")
    answer = client.query("vectors", picture(1), top_k=2).matches
    assert json.loads(json.dumps(ranking(answer))) == json.loads((bare / "answer.json").read_text())
    item = client.items("vectors", identity="ada", with_vectors=True).items[0]
    assert item.vector is not None
    assert struct.pack(f"<{len(item.vector)}f", *item.vector) == base64.b64decode(lines[1]["vector"])
    assert item.raw_space_id == lines[1]["raw_space_id"] == client.info()["raw_space_id"]
    assert client.site("vectors").raw_space_id == item.raw_space_id


def test_an_item_that_changes_before_its_vector_is_read_is_exported_as_it_is_then(
    server: ServerProcess, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.enroll("beginning", [picture(0)])
    given = client.embed("beginning", [picture(0), picture(1)])
    enrolled = client.enroll("fleeting", vectors=given.vectors, raw_space_id=given.raw_space_id)
    gone, changed = (item.id for item in enrolled.items)
    iter_items = Client.iter_items

    def changing(self: Client, site: str, **options: Any) -> Iterator[Item]:
        if options.get("with_vectors"):
            client.erase(gone)
            client.update(changed, {"identity": "new name"})
        return iter_items(self, site, **options)

    monkeypatch.setattr(Client, "iter_items", changing)
    assert "wrote 1 item(s)" in gallery(server, "export", "--site", "fleeting", "--out", tmp_path / "out")
    (line,) = [json.loads(line) for line in (tmp_path / "out/items.jsonl").read_text().splitlines()]
    assert (line["id"], line["identity"]) == (changed, "new name")


def test_vectors_of_another_raw_space_are_named_and_left_out(
    server: ServerProcess, client: Client, bare: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(picture(7))
    text = (bare / "out/items.jsonl").read_text()
    space = json.loads(text.splitlines()[0])["raw_space_id"]
    text = text.replace(space, "space-of-another-model", 1)
    (tmp_path / "items.jsonl").write_text(text + '{"id": "a", "image": "images/a.png"}\n')
    why = f"line 1: its vector is of raw space space-of-another-model, and site new takes those of {space}"
    said = gallery(server, "import", tmp_path, "--site", "new", status=1)
    assert why in said and "nothing was enrolled" in said
    assert "new" not in [site.site for site in client.sites()]
    said = gallery(server, "import", tmp_path, "--site", "new", "--partial")
    assert f"skipped {tmp_path}/items.jsonl, {why}" in said and "enrolled 2 of 3" in said


def test_items_without_image_and_vector_are_skipped_on_request(
    server: ServerProcess, bare: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    lines = [json.loads(line) for line in (bare / "out/items.jsonl").read_text().splitlines()]
    del lines[1]["vector"], lines[1]["raw_space_id"]
    text = json.dumps(lines[1]) + "\n"
    (tmp_path / "items.jsonl").write_text(text)
    said = gallery(server, "import", tmp_path, "--site", "nothing", status=1)
    assert "line 1: the item has no image and no vector" in said
    (tmp_path / "images/broken.png").write_bytes(b"no picture")
    (tmp_path / "images/good.png").write_bytes(picture(3))
    text += '{"id": "b", "image": "images/broken.png"}\n{"id": "c", "image": "images/good.png"}\n'
    lines[0] |= {"vector": "AACAPw=="}
    (tmp_path / "items.jsonl").write_text(text + json.dumps(lines[0]) + "\n")
    said = gallery(server, "import", tmp_path, "--site", "nothing", "--partial")
    assert "enrolled 1 of 4" in said
    assert "items.jsonl, line 1: the item has no image and no vector" in said
    assert "skipped" in said and "broken.png" in said
    assert "items.jsonl, line 4: has 1 numbers; the site's vectors have 24" in said
