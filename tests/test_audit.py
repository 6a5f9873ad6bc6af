"""Who looked at an image and who erased what stands in the audit log, over both doors and under every key."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.auth import Auth, make_key
from server.errors import Unauthorized
from server.gallery.records import NewItem
from server.http.app import create_app
from server.service import Service
from tests.tiny import make_tiny_bundle, open_tiny, picture


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with four items of two people at site `lobby`."""
    opened = open_tiny(make_tiny_bundle(tmp_path), tmp_path / "data")
    records = [NewItem(identity=f"person-{i // 2}") for i in range(4)]
    asyncio.run(opened.enrolling.enroll("lobby", [picture(i) for i in range(4)], records))
    yield opened
    opened.close()


def ids(service: Service) -> list[str]:
    """Ids of the items that are left, in order of enrolling."""
    seqs = [int(seq) for seq in service.store.items.seqs("lobby")]
    items = service.store.items.by_seq(seqs)
    return [items[seq].id for seq in seqs]


def lines(service: Service) -> list[tuple[str, str, str | None]]:
    """(actor, action, site) of every line."""
    return [(line["actor"], line["action"], line["site"]) for line in service.store.audit.lines()]


def call(service: Service, key: str, method: str, path: str, **options: Any) -> httpx.Response:
    """One request through the whole HTTP application."""

    async def send() -> httpx.Response:
        app = create_app(service, Auth(service.store, required=True))
        transport, headers = httpx.ASGITransport(app), {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


@pytest.fixture
def writer(service: Service) -> str:
    """A key with scope write, the first one of the store."""
    return make_key(service.store, "write").text


def name_of(service: Service, place: int) -> str:
    """The id of the key that was made at this place, which is what the log calls it."""
    return str(service.store.keys.all()[place]["id"])


def test_reading_an_image_is_noted_with_actor_item_site_and_time(service: Service, writer: str) -> None:
    item, before = ids(service)[1], time.time()
    assert call(service, writer, "GET", f"/gallery/{item}/image").content == picture(1)
    (line,) = service.store.audit.lines()
    assert (line["actor"], line["action"], line["site"]) == (name_of(service, 0), "read-image", "lobby")
    assert line["detail"]["item"] == item
    assert before <= line["at"] <= time.time()


def test_an_image_that_was_not_shown_is_not_noted(service: Service, writer: str) -> None:
    assert call(service, writer, "GET", "/gallery/nothing/image").status_code == 404
    assert lines(service) == []


def test_erasing_an_item_is_noted_and_its_id_forgotten(service: Service, writer: str) -> None:
    item = ids(service)[0]
    assert call(service, writer, "GET", f"/gallery/{item}/image").status_code == 200
    assert call(service, writer, "DELETE", f"/gallery/{item}").json()["erased"] == 1
    name = name_of(service, 0)
    assert lines(service) == [(name, "read-image", "lobby"), (name, "erase", "lobby")]
    assert service.store.audit.lines()[1]["detail"] == {"by": "item", "items": 1}
    assert item not in str(service.store.audit.lines())


def test_erasing_a_person_is_noted_with_the_number_of_items_and_without_the_name(
    service: Service, writer: str
) -> None:
    where = {"site": "lobby", "identity": "person-1"}
    assert call(service, writer, "DELETE", "/gallery", params=where).json()["erased"] == 2
    assert lines(service) == [(name_of(service, 0), "erase", "lobby")]
    detail = service.store.audit.lines()[0]["detail"]
    assert detail["items"] == 2
    assert "person-1" not in str(detail)


def test_an_erasure_that_met_no_item_is_not_noted(service: Service, writer: str) -> None:
    where = {"site": "lobby", "identity": "nobody"}
    assert call(service, writer, "DELETE", "/gallery", params=where).json()["erased"] == 0
    assert lines(service) == []


def test_the_actor_is_the_key_of_the_request(service: Service, writer: str) -> None:
    reader = make_key(service.store, "read").text
    item, other = ids(service)[:2]
    assert call(service, reader, "GET", f"/gallery/{item}/image").status_code == 200
    assert call(service, writer, "DELETE", f"/gallery/{item}").status_code == 200
    assert lines(service) == [
        (name_of(service, 1), "read-image", "lobby"),
        (name_of(service, 0), "erase", "lobby"),
    ]
    assert call(service, reader, "DELETE", f"/gallery/{other}").status_code == 403  # refused: no line
    assert len(lines(service)) == 2


def test_the_log_survives_a_restart(tmp_path: Path) -> None:
    bundle, data = make_tiny_bundle(tmp_path), tmp_path / "data"
    first = open_tiny(bundle, data)
    first.store.audit.note("key-1", "read-image", "lobby", {"n": 1})
    before = first.store.audit.lines()
    first.close()
    again = open_tiny(bundle, data)
    assert again.store.audit.lines() == before != []
    again.close()


def test_a_key_that_is_not_known_opens_nothing(service: Service) -> None:
    auth = Auth(service.store, required=True)
    admin = auth.first_key()
    assert admin is not None
    assert auth.check(admin, "admin")
    for key in (admin + "x", admin[:-1], "unknown"):
        with pytest.raises(Unauthorized, match="not known or was revoked"):
            auth.check(key, "read")


def test_the_key_of_the_first_start_leaves_a_line(service: Service) -> None:
    assert Auth(service.store, required=True).first_key() is not None
    assert lines(service)[-1] == ("local", "add-key", None)
    assert Auth(service.store, required=True).first_key() is None  # there is one now
