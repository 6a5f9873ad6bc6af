"""Thumbnails: made once, kept on disk, gone with the item."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from reid.bundle import Bundle
from server.auth import Auth
from server.gallery.records import Item
from server.http.app import create_app
from server.service import Service
from server.thumbnails import Thumbnails
from tests.tiny import make_tiny_bundle, open_tiny, picture


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def service(tiny: Bundle, tmp_path: Path) -> Iterator[Service]:
    """A service without items."""
    opened = open_tiny(tiny, tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def browser(service: Service) -> Iterator[TestClient]:
    """A client that needs no key."""
    with TestClient(create_app(service, Auth(service.store, required=False))) as client:
        yield client


def enroll(browser: TestClient, data: bytes, site: str = "lobby") -> str:
    """The id of a new item."""
    answer = browser.post("/gallery", files={"images": data}, data={"site": site})
    return str(answer.json()["items"][0]["id"])


def files(service: Service) -> set[str]:
    """Names of the files that are kept."""
    return {path.name for path in service.thumbnails.folder.rglob("*") if path.is_file()}


def look(browser: TestClient, item: str) -> bytes:
    """A thumbnail."""
    answer = browser.get(f"/console/thumbnails/{item}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.content


def test_a_thumbnail_is_small_and_made_once(
    browser: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = io.BytesIO()
    Image.new("RGB", (900, 1800), (200, 30, 40)).save(large, "PNG")
    item = enroll(browser, large.getvalue())
    first = look(browser, item)
    with Image.open(io.BytesIO(first)) as shown:
        assert (shown.format, shown.size) == ("JPEG", (192, 384))
    assert files(service) == {f"{item}.jpg"}
    monkeypatch.setattr(service.thumbnails, "_make", lambda _: pytest.fail("it was made again"))
    assert look(browser, item) == first


def test_a_thumbnail_goes_with_its_item(browser: TestClient, service: Service) -> None:
    gone, kept = enroll(browser, picture(1)), enroll(browser, picture(2))
    for item in (gone, kept):
        look(browser, item)
    assert browser.delete(f"/gallery/{gone}").json() == {
        "erased": 1,
        "purged": True,
        "index_keeps_until": None,
    }
    assert files(service) == {f"{kept}.jpg"}
    assert browser.get(f"/console/thumbnails/{gone}").status_code == 404
    assert browser.delete("/gallery", params={"site": "lobby", "all": "true"}).status_code == 200
    assert files(service) == set()


def test_thumbnails_go_with_their_site(browser: TestClient, service: Service) -> None:
    item, other = enroll(browser, picture(1)), enroll(browser, picture(1), "yard")
    for each in (item, other):
        look(browser, each)
    assert browser.delete("/sites/lobby").status_code == 200
    assert files(service) == {f"{other}.jpg"}


def test_an_item_that_is_erased_while_its_thumbnail_is_made_leaves_none(
    browser: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = enroll(browser, picture(1))
    make = service.thumbnails._make

    def erased_meanwhile(made_of: Item) -> bytes:
        data = make(made_of)
        service.store.items.erase([made_of.seq], "somebody", "lobby", "item")
        return data

    monkeypatch.setattr(service.thumbnails, "_make", erased_meanwhile)
    browser.get(f"/console/thumbnails/{item}")
    assert files(service) == set()


def test_what_a_killed_server_left_goes_at_the_next_start(browser: TestClient, service: Service) -> None:
    item = enroll(browser, picture(1))
    look(browser, item)
    folder = service.thumbnails.folder
    (folder / "00").mkdir()
    (folder / "00" / ("0" * 32 + ".jpg")).write_bytes(b"of an erased item")
    (folder / item[:2] / f"{item}.part").write_bytes(b"half of a file")
    Thumbnails(service.store, folder.parent)
    assert files(service) == {f"{item}.jpg"}


def test_an_erasure_is_not_purged_while_a_thumbnail_remains(
    browser: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = enroll(browser, picture(1))
    look(browser, item)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _refuse)
        assert browser.delete(f"/gallery/{item}").json() == {
            "erased": 1,
            "purged": False,
            "index_keeps_until": None,
        }
    assert service.thumbnails.remains() == set()
    assert files(service) == set()


def _refuse(path: Path, missing_ok: bool = False) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_full_disk_costs_no_look(
    browser: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    item = enroll(browser, picture(1))
    monkeypatch.setattr(Path, "write_bytes", full)
    assert look(browser, item)
    assert files(service) == set()


def test_who_looked_is_noted_once_an_hour(browser: TestClient, service: Service) -> None:
    item, other = enroll(browser, picture(1)), enroll(browser, picture(2))
    for each in (item, other, item, item):
        look(browser, each)
    noted = [line["detail"]["item"] for line in service.store.audit.lines()]
    assert noted == [item, other]
    service.thumbnails.looks["local", item] -= 3600
    look(browser, item)
    assert len(service.store.audit.lines()) == 3


def test_without_kept_images_there_is_no_thumbnail(tiny: Bundle, tmp_path: Path) -> None:
    service = open_tiny(tiny, tmp_path / "unkept", keep_images=False)
    with TestClient(create_app(service, Auth(service.store, required=False))) as browser:
        answer = browser.get(f"/console/thumbnails/{enroll(browser, picture(1))}")
    service.close()
    assert answer.status_code == 404
    assert "was not kept" in answer.json()["detail"]
