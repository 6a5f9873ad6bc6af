"""The Python client: sync and async are the same, errors carry the server's sentence."""

import asyncio
import datetime
import inspect
import io
import re
import uuid
from pathlib import Path

import httpx
import numpy as np
import pytest
import resight_client
from PIL import Image
from resight_client import AsyncClient, Client, ResightError, values

from benchmarks.serving import ServerProcess

People = list[tuple[bytes, str, str]]


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(m).parameters)
            for name, m in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert public(Client) == public(AsyncClient)


def test_the_async_client_does_everything(server: ServerProcess, people: People) -> None:
    async def story() -> None:
        site = f"async-{uuid.uuid4().hex[:8]}"
        async with AsyncClient(server.url) as client:
            found = await client.enroll(site, [data for data, _, _ in people], camera="a", metadata={"k": 1})
            answers = await asyncio.gather(*(client.query(site, people[i][0]) for i in range(20)))
            assert [a.matches[0].id for a in answers] == [item.id for item in found.items[:20]]
            assert (await client.item(found.items[0].id)).metadata == {"k": 1}
            assert (await client.items(site, limit=5)).cursor
            job = await client.wait((await client.adapt(site, "2", gate=False)).job)
            assert job.version == 2
            assert (await client.wait((await client.roll_back(site)).job)).version == 3
            assert (await client.erase(found.items[0].id)).erased == 1
            assert (await client.site(site)).items == len(people) - 1
            with pytest.raises(ResightError, match="no site"):
                await client.query("nowhere", people[0][0])

    asyncio.run(story())


def test_both_clients_list_and_erase_by_the_same_conditions(server: ServerProcess, people: People) -> None:
    site = f"filters-{uuid.uuid4().hex[:8]}"
    records = [{"identity": i, "camera": c, "captured_at": 100 + n} for n, (_, i, c) in enumerate(people[:8])]
    where = {"identity": ["person-0", "person-1"], "captured_at": {"lt": 106}}
    with Client(server.url) as client:
        items = client.enroll(site, [data for data, _, _ in people[:8]], records=records).items
        listed = client.items(site, camera="cam-0", captured_after="1970-01-01T00:01:41Z", filter=where).items
        assert listed == [items[1], items[4], items[5]]
        later = client.items(site, filter={"enrolled_at": {"gt": items[0].enrolled_at}}).items
        assert later == []  # one request, one time
    options = {"camera": "cam-0", "captured_after": 101, "captured_before": 106, "filter": where}

    async def story() -> None:
        async with AsyncClient(server.url) as client:
            assert (await client.items(site, **options)).items == listed
            with pytest.raises(ResightError, match="nothing says what to erase"):
                await client.erase_items(site)
            assert (await client.erase_items(site, **options)).erased == 3
            with pytest.raises(ResightError, match="at site 'elsewhere'"):
                await client.erase(items[0].id, site="elsewhere")
            assert (await client.erase_items(site, all=True)).erased == 5

    asyncio.run(story())


@pytest.mark.parametrize("name", ["", "../sites", "a/b", "a?site=x", "a#b", "%2e%2e", "..", "\0", "\ud800"])
def test_a_name_stays_a_name(client: Client, name: str) -> None:
    for call in (client.item, client.site, client.erase, client.job, client.cancel, client.roll_back):
        with pytest.raises(ResightError) as caught:
            call(name)
        assert caught.value.status in (0, 404)


def test_a_filter_is_never_dropped(client: Client, people: People) -> None:
    site = f"filters-{uuid.uuid4().hex[:8]}"
    client.enroll(site, [people[0][0]], camera="door")
    for where in (
        "",
        "null",
        "[]",
        {"camera": ""},
        {"camera": None, "colour": 1},
        {"metadata": {"k": float("inf")}},
    ):
        for call in (client.items, client.erase_items):
            with pytest.raises(ResightError) as caught:
                call(site, filter=where)
            assert caught.value.status == 400
        with pytest.raises(ResightError) as caught:
            client.query(site, people[0][0], filter=where)
        assert caught.value.status == 400
    assert client.site(site).items == 1


def test_no_server_is_a_sentence() -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(ResightError, match=r"no answer from .* resight serve") as caught,
    ):
        client.sites()
    assert caught.value.status == 0


def test_an_error_without_a_text_is_named_by_its_kind() -> None:
    assert "no answer from http://a: ReadTimeout;" in str(
        Client("http://a").server.unreachable(httpx.ReadTimeout(""))
    )


def test_an_image_is_the_same_whatever_holds_it(client: Client, people: People, tmp_path: Path) -> None:
    data = people[0][0]
    file = tmp_path / "na\udcffme.jpg"  # a name that is no UTF-8
    file.write_bytes(data)
    opened = Image.open(io.BytesIO(data))
    pixels = np.asarray(opened)
    site = f"images-{uuid.uuid4().hex[:8]}"
    with file.open("rb") as stream:
        kinds = [
            file,
            str(file),
            data,
            bytearray(data),
            memoryview(data),
            stream,
            pixels,
            opened,
            pixels[:, ::-1],
        ]
        enrolled = client.enroll(site, (kind for kind in kinds)).items
    assert [len(client.enroll(site, one).items) for one in (file, data, pixels, opened, pixels[None])] == [
        1
    ] * 5
    scores = {match.id: match.score for match in client.query(site, pixels, top_k=100).matches}
    assert len(scores) == len(kinds) + 5
    mirrored = enrolled.pop()
    assert min(scores[item.id] for item in enrolled) > 0.999 > scores[mirrored.id]
    assert client.image(enrolled[0].id) == data
    sent = np.asarray(Image.open(io.BytesIO(client.image(mirrored.id))))
    assert np.array_equal(sent, pixels[:, ::-1])
    turned = Image.fromarray(np.rot90(pixels))  # orientation 6: turn it clockwise to see it
    turned.getexif()[0x0112] = 6
    grey = pixels[..., 0]
    for same, other in (
        (turned, pixels),
        (grey, np.dstack([grey] * 3)),
        (grey[..., None], Image.fromarray(grey)),
    ):
        best = client.query(site, same, top_k=100).matches
        assert [m.id for m in best] == [m.id for m in client.query(site, other, top_k=100).matches]


def test_datetimes_are_times_everywhere(client: Client, people: People) -> None:
    site = f"times-{uuid.uuid4().hex[:8]}"
    zone = datetime.timezone(datetime.timedelta(hours=2, minutes=30, seconds=15))
    noon = datetime.datetime(2026, 5, 4, 12, 0, 0, 250_000, tzinfo=datetime.timezone.utc)
    same = [noon, noon.astimezone(zone), noon.replace(tzinfo=None), np.datetime64("2026-05-04T12:00:00.25")]
    same += [noon.timestamp(), np.float64(noon.timestamp()), "2026-05-04T12:00:00.25Z"]
    ids = []
    for time in same:
        item = client.enroll(site, people[0][0], captured_at=time).items[0]
        record = {"captured_at": time, "metadata": {"n": np.int64(1), "at": noon.date()}}
        other = client.enroll(site, people[0][0], records=[record]).items[0]
        assert item.captured_at == other.captured_at == "2026-05-04T12:00:00.250000Z"
        assert other.metadata == {"n": 1, "at": "2026-05-04"}
        ids += [item.id, other.id]
    day = client.enroll(site, people[0][0], captured_at=datetime.date(2026, 5, 4)).items[0]
    assert day.captured_at == "2026-05-04T00:00:00Z"
    assert (
        client.enroll(site, people[0][0], captured_at=np.int32(20260504)).items[0].captured_at[:4] == "1970"
    )
    for time in same:
        assert [item.id for item in client.items(site, captured_after=time).items] == ids
        assert {item.id for item in client.items(site, captured_before=time).items}.isdisjoint(ids)
        assert len(client.items(site, filter={"captured_at": {"gte": time}}).items) == len(ids)


def test_every_item_comes_once_over_pages(server: ServerProcess, client: Client, people: People) -> None:
    site = f"pages-{uuid.uuid4().hex[:8]}"
    ids = [item.id for item in client.enroll(site, [data for data, _, _ in people[:7]], camera="a").items]
    client.enroll(site, people[7][0], camera="b")
    for page_size in (1, 3, 7, 8, 100):
        assert [item.id for item in client.iter_items(site, camera="a", page_size=page_size)] == ids
    assert len(list(client.iter_items(site))) == 8

    async def story() -> None:
        async with AsyncClient(server.url) as other:
            assert [item.id async for item in other.iter_items(site, camera="a", page_size=3)] == ids
            assert await other.image(ids[0]) == people[0][0]

    asyncio.run(story())


def test_the_client_says_its_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", resight_client.__version__)


def test_a_newer_server_may_answer_more_than_this_client_knows() -> None:
    item = dict.fromkeys(("id", "site", "camera", "identity", "captured_at", "enrolled_at", "new"), "i")
    item |= {"metadata": {}}
    enrolled = values.enrolled(
        {"site": "s", "version": 1, "space_id": "x", "items": [item], "errors": [], "new": 1}
    )
    assert enrolled.items[0].id == "i"
