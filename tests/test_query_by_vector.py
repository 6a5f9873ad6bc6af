"""A query by vector answers as the crop of the vector does, and never with vectors of another space."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from resight_client import AsyncClient, Client, Match, ResightError, Vectors
from typer.testing import CliRunner

from benchmarks.serving import ServerProcess
from cli.app import app
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from tests.tiny import DIM, make_tiny_bundle, picture

PLAIN, CENTRED = "plain", "centred"
CAMERAS = ("door", "hall")
CROP = picture(3)
ITEMS = 64  # enough of each camera for a centre of its own


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with two sites of the same crops, of which one has a centre for each of two cameras."""
    folder = tmp_path_factory.mktemp("by-vector")
    bundle = make_tiny_bundle(folder)
    records = [{"camera": CAMERAS[n % 2], "identity": f"person-{n % 8}"} for n in range(ITEMS)]
    with ServerProcess(bundle.path, folder / "data", engine="onnxruntime") as running:
        with Client(running.url) as client:
            for site in (PLAIN, CENTRED):
                client.enroll(site, [picture(n) for n in range(ITEMS)], records=records)
            client.wait(client.adapt(CENTRED, "0", gate=False).job)
            assert client.site(CENTRED).camera_centres == 2
        yield running


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    """A client of it."""
    with Client(server.url) as opened:
        yield opened


def embedded(client: Client, site: str, *crops: bytes, camera: str | None = None) -> Vectors:
    """Vectors of crops."""
    return client.embed(site, crops, camera=camera)


def ranked(matches: list[Match]) -> list[tuple[str, float]]:
    """What a ranking says, to the last digit."""
    return [(match.id, match.score) for match in matches]


@pytest.mark.parametrize("camera", ["door", "hall", None])
@pytest.mark.parametrize("site", [PLAIN, CENTRED])
def test_a_vector_answers_as_its_crop_does(client: Client, site: str, camera: str | None) -> None:
    options: dict[str, Any] = {"query_camera": camera, "top_k": ITEMS}
    given = embedded(client, site, CROP, camera=camera)
    by_crop = client.query(site, CROP, **options)
    by_vector = client.query(site, vectors=given.vectors, raw_space_id=given.raw_space_id, **options)
    assert len(by_crop.matches) == ITEMS
    assert by_vector == by_crop
    options |= {"group_by": "identity", "exclude_same_camera": camera is not None}
    by_crop = client.query(site, CROP, **options)
    assert client.query(site, vectors=given.vectors, raw_space_id=given.raw_space_id, **options) == by_crop


def test_the_camera_of_a_vector_says_which_centre_it_gets(client: Client) -> None:
    given = embedded(client, CENTRED, CROP)
    scores = []
    for camera in CAMERAS:
        answer = client.query(
            CENTRED, vectors=given.vectors, raw_space_id=given.raw_space_id, query_camera=camera
        )
        scores.append(ranked(answer.matches))
    assert scores[0] != scores[1]


@pytest.mark.parametrize("site", [PLAIN, CENTRED])
def test_vectors_of_a_tracklet_answer_as_its_crops_do(client: Client, site: str) -> None:
    crops = [picture(n) for n in (1, 2, 30)]
    given = embedded(client, site, *crops, camera="door")
    by_crops = client.query(site, crops, query_camera="door")
    by_vectors = client.query(
        site, vectors=np.array(given.vectors), raw_space_id=given.raw_space_id, query_camera="door"
    )
    assert by_vectors == by_crops


def test_every_way_to_send_a_vector_gives_the_same_answer(server: ServerProcess, client: Client) -> None:
    given = embedded(client, CENTRED, CROP, camera="door")
    numbers, space = given.vectors[0], given.raw_space_id
    expected = ranked(client.query(CENTRED, CROP, query_camera="door").matches)
    as_bytes = base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()
    for text in (json.dumps(numbers), as_bytes, json.dumps([7 * number for number in numbers])):
        fields = {"site": CENTRED, "vector": text, "raw_space_id": space, "query_camera": "door"}
        answer = httpx.post(f"{server.url}/query", data=fields).json()
        assert [(m["id"], m["score"]) for m in answer["matches"]] == expected
    for one in (numbers, [numbers], np.array(numbers), np.array([numbers], np.float32)):
        answer = client.query(CENTRED, vectors=one, raw_space_id=space, query_camera="door")
        assert ranked(answer.matches) == expected
    request = pb.QueryRequest(
        site=CENTRED, vectors=[pb.Vector(values=numbers)], raw_space_id=space, query_camera="door"
    )
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        over_grpc = rpc.GalleryStub(channel).Query(request).matches
    assert [(match.item.id, pytest.approx(match.score)) for match in over_grpc] == expected

    async def ask() -> list[tuple[str, float]]:
        async with AsyncClient(server.url) as opened:
            answer = await opened.query(CENTRED, vectors=numbers, raw_space_id=space, query_camera="door")
            return ranked(answer.matches)

    assert asyncio.run(ask()) == expected


UNIT = [1.0] + [0.0] * (DIM - 1)
OURS: dict[str, Any] = {"vectors": UNIT, "raw_space_id": "ours"}


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        (OURS | {"raw_space_id": None}, 400, "without raw_space_id; send the one"),
        (
            OURS | {"raw_space_id": "space-0"},
            409,
            "raw space 'space-0' cannot be compared.*embed their crops",
        ),
        (OURS | {"vectors": UNIT[1:]}, 422, "vector 0 has 23 numbers; the site's vectors have 24"),
        (OURS | {"vectors": [UNIT, [*UNIT, 0.0]]}, 422, "vector 1 has 25 numbers"),
        (OURS | {"vectors": [[0.0] * DIM]}, 422, "vector 0 has length zero"),
        (OURS | {"vectors": [float("nan"), *UNIT[1:]]}, 422, "vector 0 holds nan as number 0; send finite"),
        (OURS | {"vectors": [*UNIT[:5], 1e39, *UNIT[6:]]}, 422, "vector 0 holds inf as number 5"),
        (OURS | {"vectors": [UNIT, [-1.0, *UNIT[1:]]]}, 422, "cancel each other out"),
        (OURS | {"vectors": [UNIT] * 65}, 413, "65 vectors in one query; a tracklet may have 64"),
        (OURS | {"images": CROP}, 400, "send either images"),
        (OURS | {"item_id": "0" * 32}, 400, "send either images"),
        ({"images": CROP, "raw_space_id": "ours"}, 400, "raw_space_id says of which space vectors are"),
    ],
)
def test_what_cannot_be_asked_with_is_refused_with_a_sentence(
    client: Client, fields: dict[str, Any], status: int, sentence: str
) -> None:
    if fields["raw_space_id"] == "ours":
        fields = fields | {"raw_space_id": embedded(client, PLAIN, CROP).raw_space_id}
    with pytest.raises(ResightError, match=sentence) as caught:
        client.query(PLAIN, **fields)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("crop.jpg", "vector 0 is 'crop.jpg'; send a JSON array of numbers, or base64"),
        ("[0.1,", "vector 0 is not valid JSON"),
        ("[NaN]", "NaN is no JSON number"),
        ('["0.1"]', "vector 0: number 0 is text"),
        ("[true]", "vector 0: number 0 is a boolean"),
        ("[[0.1]]", "number 0 is an array; send each vector by itself"),
        ("AAAA", "base64 of 3 bytes, and a number has four"),
    ],
)
def test_text_that_is_no_vector_is_refused_with_a_sentence(
    server: ServerProcess, text: str, sentence: str
) -> None:
    fields = {"site": PLAIN, "vector": text, "raw_space_id": "space-0"}
    answer = httpx.post(f"{server.url}/query", data=fields)
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]


def test_grpc_refuses_a_vector_with_the_same_sentence(server: ServerProcess, client: Client) -> None:
    with pytest.raises(ResightError) as over_http:
        client.query(PLAIN, vectors=UNIT, raw_space_id="space-0")
    request = pb.QueryRequest(site=PLAIN, vectors=[pb.Vector(values=UNIT)], raw_space_id="space-0")
    channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
    with channel, pytest.raises(grpc.RpcError) as over_grpc:
        rpc.GalleryStub(channel).Query(request)
    assert over_grpc.value.details() == over_http.value.detail
    assert over_grpc.value.code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("wrong", ["text", 7, [], [[]], ["a"], [None], object()])
def test_what_is_no_vector_is_not_sent(client: Client, wrong: Any) -> None:
    with pytest.raises(ResightError, match="nothing was sent") as caught:
        client.query(PLAIN, vectors=wrong, raw_space_id="space-0")
    assert caught.value.status == 0


def query_command(server: ServerProcess, *words: object, status: int = 0) -> str:
    """What `resight query` prints."""
    result = CliRunner().invoke(app, ["query", *map(str, words), "--server", server.url])
    assert result.exit_code == status, result.output
    return result.output


def test_the_command_line_asks_with_vectors_of_every_kind_of_file(
    server: ServerProcess, client: Client, tmp_path: Path
) -> None:
    crop, out = tmp_path / "crop.png", tmp_path / "crop.npz"
    crop.write_bytes(CROP)
    bundle = make_tiny_bundle(tmp_path).path  # the server's, once more
    made = CliRunner().invoke(app, ["embed", str(crop), "--bundle", str(bundle), "--out", str(out)])
    assert made.exit_code == 0, made.output
    given = embedded(client, PLAIN, CROP)
    with np.load(out) as arrays:
        assert str(arrays["raw_space_id"]) == given.raw_space_id
    answered = {"vectors": given.vectors, "raw_space_id": given.raw_space_id, "site": PLAIN}
    (tmp_path / "answer.json").write_text(json.dumps(answered))
    np.save(tmp_path / "one.npy", np.array(given.vectors[0]))
    expected = query_command(server, crop, "--site", PLAIN)
    for words in (
        (out,),
        (tmp_path / "answer.json",),
        (tmp_path / "one.npy", "--raw-space-id", given.raw_space_id),
    ):
        assert query_command(server, "--vector", *words, "--site", PLAIN) == expected
    assert "give it with --raw-space-id" in query_command(
        server, "--vector", tmp_path / "one.npy", "--site", PLAIN, status=1
    )
