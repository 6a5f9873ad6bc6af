"""Enrolling vectors: found like the items of their crops, without an image, and never of another space."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from resight_client import AsyncClient, Client, Match, ResightError

from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from reid.bundle import Bundle
from server.enroll import Enrolled
from server.errors import Conflict
from server.gallery.records import NewItem
from server.service import Service
from tests.tiny import DIM, make_tiny_bundle, open_tiny, picture, site_profile, tiny_server

BASE = "base"
CROPS = [picture(number) for number in range(8)]
RECORDS: list[dict[str, Any]] = [
    {"identity": f"person-{n % 3}", "camera": "door", "captured_at": 1000.5 + n, "metadata": {"n": n}}
    for n in range(8)
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose site `base` holds the crops as images."""
    with tiny_server(tmp_path_factory.mktemp("enroll-vectors")) as running:
        with Client(running.url) as client:
            client.enroll(BASE, CROPS, records=RECORDS)
        yield running


@pytest.fixture
def given(client: Client) -> dict[str, Any]:
    """Vectors of the crops, as arguments of the client."""
    embedded = client.embed(BASE, CROPS, camera="door")
    return {"vectors": embedded.vectors, "raw_space_id": embedded.raw_space_id}


def site() -> str:
    """A site nobody else uses."""
    return f"site-{uuid.uuid4().hex[:8]}"


def ranking(matches: list[Match]) -> list[tuple[Any, ...]]:
    """What a ranking says, without ids."""
    return [(m.rank, m.score, m.identity, m.camera, m.captured_at, m.metadata) for m in matches]


def test_enrolled_vectors_are_found_as_their_crops_are(client: Client, given: dict[str, Any]) -> None:
    name = site()
    answer = client.enroll(name, **given, records=RECORDS)
    assert [item.metadata["n"] for item in answer.items] == list(range(8))
    for seed in (2, 50):
        of_crops = client.query(BASE, picture(seed), query_camera="door").matches
        assert ranking(client.query(name, picture(seed), query_camera="door").matches) == ranking(of_crops)


def test_the_answer_says_what_items_without_an_image_cannot_do(client: Client, given: dict[str, Any]) -> None:
    name = site()
    answer = client.enroll(name, **given)
    assert answer.note is not None and "adapted by tier 0 alone" in answer.note
    assert client.enroll(name, [picture(9)]).note is None
    with pytest.raises(ResightError, match="was not kept"):
        client.image(answer.items[0].id)
    client.enroll(name, [picture(number) for number in range(20, 30)])
    with pytest.raises(ResightError, match=r"8 of 19 images .* are not kept.*tier 0 needs no images"):
        client.adapt(name, "1")
    assert client.wait(client.adapt(name, "0", gate=False).job).state == "succeeded"
    assert {match.id for match in client.query(name, CROPS[0], top_k=100).matches} >= {
        item.id for item in answer.items
    }
    assert client.wait(client.roll_back(name).job).state == "succeeded"


def test_vectors_are_not_enrolled_twice_under_their_key(client: Client, given: dict[str, Any]) -> None:
    name, key = site(), uuid.uuid4().hex
    first = client.enroll(name, **given, camera="door", idempotency_key=key)
    again = client.enroll(name, **given, camera="door", idempotency_key=key)
    assert again == dataclasses.replace(first, enrolled_before=True) != first
    for other in (
        {**given, "vectors": given["vectors"][::-1], "camera": "door"},
        {**given, "camera": "hall"},
        {"images": CROPS, "camera": "door"},
    ):
        with pytest.raises(ResightError, match="was used for another request") as caught:
            client.enroll(name, **other, idempotency_key=key)
        assert caught.value.status == 409
    assert client.site(name).items == 8


def test_a_bad_vector_is_named_and_with_partial_left_out(client: Client, given: dict[str, Any]) -> None:
    name, key = site(), uuid.uuid4().hex
    mixed = {**given, "vectors": [given["vectors"][0], [0.0] * DIM, given["vectors"][1], [1.0]]}
    with pytest.raises(ResightError, match="vector 1 has length zero") as caught:
        client.enroll(name, **mixed)
    assert (caught.value.status, caught.value.facts["index"]) == (422, 1)
    assert name not in [each.site for each in client.sites()]
    answer = client.enroll(name, **mixed, records=RECORDS[:4], partial=True, idempotency_key=key)
    assert [item.metadata["n"] for item in answer.items] == [0, 2]
    assert [error["index"] for error in answer.errors] == [1, 3]
    again = client.enroll(name, **mixed, records=RECORDS[:4], partial=True, idempotency_key=key)
    assert again == dataclasses.replace(answer, enrolled_before=True) != answer
    with pytest.raises(ResightError, match="vector 1 was not stored then"):
        client.enroll(name, **mixed, records=RECORDS[:4], idempotency_key=key)
    nothing = client.enroll(site(), **{**given, "vectors": [[1.0]]}, partial=True)
    assert (nothing.items, nothing.note) == ([], None)


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"raw_space_id": None}, 400, "without raw_space_id; send the one"),
        ({"raw_space_id": "space-0"}, 409, "raw space 'space-0' cannot be compared"),
        ({"raw_space_id": "space-0", "vectors": [[1.0]]}, 409, "raw space 'space-0' cannot be compared"),
        ({"images": CROPS}, 400, "images and vectors in one request"),
        ({"records": RECORDS[:3]}, 400, "one object for each of the 8 vectors"),
        ({"vectors": [[1.0] * DIM] * 1001}, 413, "1001 vectors in one request; at most 1000 are accepted"),
        ({"vectors": [[1.0] * DIM] * 1200}, 413, "at most 1000 vectors are accepted"),
        ({"vectors": None, "images": CROPS}, 400, "raw_space_id says of which space vectors are"),
        ({"vectors": None, "raw_space_id": None}, 400, "no images: send at least one, or vectors"),
    ],
)
def test_what_cannot_be_enrolled_is_refused_and_nothing_is_stored(
    client: Client, given: dict[str, Any], fields: dict[str, Any], status: int, sentence: str
) -> None:
    name = site()
    with pytest.raises(ResightError, match=sentence) as caught:
        client.enroll(name, **(given | fields))
    assert caught.value.status == status
    assert name not in [each.site for each in client.sites()]


def test_both_clients_and_grpc_enroll_vectors(
    server: ServerProcess, client: Client, given: dict[str, Any]
) -> None:
    by_async, by_grpc = site(), site()

    async def enroll() -> str | None:
        async with AsyncClient(server.url) as opened:
            arrays = given | {"vectors": np.array(given["vectors"])}
            return (await opened.enroll(by_async, **arrays, camera="door")).note

    note = asyncio.run(enroll())
    crops = [pb.Crop(vector=pb.Vector(values=vector), camera="door") for vector in given["vectors"]]
    space = given["raw_space_id"]
    both = [pb.Crop(image=CROPS[0], vector=crops[0].vector), *crops]
    mixed = [*crops, pb.Crop(image=CROPS[0])]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        gallery = rpc.GalleryStub(channel)
        answer = gallery.Enroll(pb.EnrollRequest(site=by_grpc, crops=crops, raw_space_id=space))
        for wrong, sentence in (
            (both, r"crops[0] has an image and a vector"),
            (mixed, r"crops[8] has an image"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                gallery.Enroll(pb.EnrollRequest(site=by_grpc, crops=wrong, raw_space_id=space))
            assert sentence in caught.value.details()
    assert answer.note == note != ""
    rankings = [client.query(name, CROPS[1], query_camera="door").matches for name in (by_async, by_grpc)]
    assert [m.score for m in rankings[0]] == [m.score for m in rankings[1]]
    assert len(rankings[0]) == 8


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """The tiny bundle."""
    return make_tiny_bundle(tmp_path)


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """The service in this process."""
    opened = open_tiny(bundle, tmp_path / "data")
    yield opened
    opened.close()


def enroll(service: Service, space: str) -> Enrolled:
    """Enrolls a vector at `base`."""
    vector = np.eye(DIM, dtype=np.float32)[0]
    enrolling = service.enrolling.enroll(
        BASE, [], [NewItem(camera="door")], vectors=[vector], raw_space_id=space
    )
    return asyncio.run(enrolling)


def test_vectors_of_a_site_before_it_was_adapted_are_refused(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(service.enrolling.enroll(BASE, CROPS, [NewItem()] * 8))
    old = service.sites.get(BASE).state.version.raw_space_id
    enrolling = service.enrolling
    write = enrolling._write

    def swapped(*arguments: Any) -> Any:
        """The site gets other tables between the check of the space and the commit."""
        monkeypatch.setattr(enrolling, "_write", write)
        profile = service.store.versions.save_profile(site_profile(bundle, 1))
        service.rebuilder.run(service.sites.get(BASE), profile, "adapt", 1)
        return write(*arguments)

    monkeypatch.setattr(enrolling, "_write", swapped)
    for _ in range(2):
        with pytest.raises(Conflict, match="in version 2; embed their crops again"):
            enroll(service, old)
    assert service.store.items.count(BASE) == 8
    new = service.sites.get(BASE).state.version.raw_space_id
    assert len(enroll(service, new).items) == 1


def test_a_rollback_that_would_have_to_embed_a_vector_fails_and_nothing_is_lost(
    service: Service, bundle: Bundle
) -> None:
    asyncio.run(service.enrolling.enroll(BASE, CROPS, [NewItem()] * 8))
    profile = service.store.versions.save_profile(site_profile(bundle, 1))
    live = service.rebuilder.run(service.sites.get(BASE), profile, "adapt", 1)
    item = enroll(service, live.raw_space_id).items[0]
    with pytest.raises(Conflict, match=f"the image of item {item.id} is not kept"):
        service.rebuilder.run(service.sites.get(BASE), service.engines.base_id, "rollback", None)
    with pytest.raises(Conflict, match="cannot be rolled back to version 1: the images of 1 of its items"):
        asyncio.run(service.adapting.roll_back(BASE))  # before any job is begun
    state = service.sites.get(BASE).state
    assert (state.version.version, len(state.index)) == (2, 9)
