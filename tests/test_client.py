"""The Python client: sync and async are the same, errors carry the server's sentence."""

import asyncio
import inspect
import uuid

import pytest
from resight_client import AsyncClient, Client, ResightError

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
            job = await client.wait((await client.adapt(site, "2")).job)
            assert job.version == 2
            assert (await client.wait((await client.roll_back(site)).job)).version == 3
            assert await client.erase(found.items[0].id) == 1
            assert (await client.site(site)).items == len(people) - 1
            with pytest.raises(ResightError, match="no site"):
                await client.query("nowhere", people[0][0])

    asyncio.run(story())


def test_no_server_is_a_sentence() -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(ResightError, match=r"no answer from .* resight serve") as caught,
    ):
        client.sites()
    assert caught.value.status == 0
