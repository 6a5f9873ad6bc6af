"""resight gallery export and import: what leaves a server comes back the same, and nothing else does."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from resight_client import Client, Match, ResightError
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
    assert "enrolled 12 of 12" in gallery(server, "import", out, "--site", "back")
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
        ('{"id": "x", "image": null}', "line 2: the item has no image"),
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


def test_items_without_an_image_are_exported_and_skipped_on_request(
    server: ServerProcess, client: Client, tmp_path: Path
) -> None:
    with tiny_server(tmp_path / "other", keep_images="false") as other, Client(other.url) as elsewhere:
        elsewhere.enroll("bare", [picture(0)], identity="ada")
        said = gallery(other, "export", "--site", "bare", "--out", tmp_path / "out")
    assert "the image of 1 of them was not kept" in said
    line = json.loads((tmp_path / "out/items.jsonl").read_text())
    assert (line["identity"], line["image"]) == ("ada", None)
    assert "line 1: the item has no image" in gallery(
        server, "import", tmp_path / "out", "--site", "bare", status=1
    )
    (tmp_path / "out/images/broken.png").write_bytes(b"no picture")
    (tmp_path / "out/images/good.png").write_bytes(picture(3))
    rest = '{"id": "b", "image": "images/broken.png"}\n{"id": "c", "image": "images/good.png"}\n'
    with (tmp_path / "out/items.jsonl").open("a") as file:
        file.write(rest)
    said = gallery(server, "import", tmp_path / "out", "--site", "bare", "--partial")
    assert "enrolled 1 of 3" in said
    assert "skipped" in said and "broken.png" in said
