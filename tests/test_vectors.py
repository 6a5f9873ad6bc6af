"""Vectors of crops: what `/embed` answers over both protocols and both clients."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from resight_client import AsyncClient, Client, ResightError

from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.gallery.records import NewItem
from tests.tiny import make_tiny_bundle, open_tiny, picture

SITE = "vectors"
CROPS = [picture(number) for number in range(3)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the tiny bundle and three items."""
    folder = tmp_path_factory.mktemp("vectors")
    bundle = make_tiny_bundle(folder)
    with ServerProcess(bundle.path, folder / "data", engine="onnxruntime") as running:
        with Client(running.url) as client:
            client.enroll(SITE, CROPS, camera="door")
        yield running


def test_the_cosine_of_two_vectors_is_the_score_of_a_query(client: Client) -> None:
    answer = client.embed(SITE, CROPS, camera="door")
    vectors = np.array(answer.vectors, np.float32)
    assert vectors.shape == (3, answer.dim)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    scores = sorted((vectors @ vectors[0]).tolist(), reverse=True)
    matches = client.query(SITE, CROPS[0], query_camera="door").matches
    assert [match.score for match in matches] == pytest.approx(scores, abs=2e-3)
    assert answer.version == client.site(SITE).version
    assert client.site(SITE).items == 3  # nothing was stored


def test_both_protocols_and_both_clients_give_the_same_vectors(server: ServerProcess, client: Client) -> None:
    by_http = client.embed(SITE, CROPS, cameras=["door", "hall", None])
    crops = [pb.EmbedCrop(image=c, camera=n) for c, n in zip(CROPS, ("door", "hall", ""), strict=True)]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        by_grpc = rpc.GalleryStub(channel).Embed(pb.EmbedRequest(site=SITE, crops=crops))
    assert (by_grpc.raw_space_id, by_grpc.dim) == (by_http.raw_space_id, by_http.dim)
    np.testing.assert_allclose([v.values for v in by_grpc.vectors], by_http.vectors, atol=1e-6)

    async def embed() -> list[list[float]]:
        async with AsyncClient(server.url) as opened:
            return (await opened.embed(SITE, CROPS)).vectors

    np.testing.assert_allclose(asyncio.run(embed()), by_http.vectors, atol=1e-6)


@pytest.mark.parametrize(
    ("site", "images", "fields", "status", "sentence"),
    [
        ("nowhere", CROPS, {}, 404, "there is no site"),
        (SITE, [CROPS[0]] * 65, {}, 413, "at most 64 are accepted"),
        (SITE, [CROPS[0], b"no image"], {}, 415, "image 1"),
        (SITE, CROPS, {"cameras": ["door"]}, 400, "one camera for each of the 3 images"),
        (SITE, CROPS, {"cameras": ["door", {}, None]}, 400, r"cameras\[1\]"),
        (SITE, CROPS, {"camera": "door", "cameras": ["a", "b", "c"]}, 400, "contradict each other"),
    ],
)
def test_what_cannot_be_embedded_is_refused_with_a_sentence(
    client: Client, site: str, images: list[bytes], fields: dict[str, Any], status: int, sentence: str
) -> None:
    with pytest.raises(ResightError, match=sentence) as caught:
        client.embed(site, images, **fields)
    assert caught.value.status == status


def test_a_vector_is_of_its_cameras_table_and_names_the_space_without_centres(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = open_tiny(make_tiny_bundle(tmp_path), tmp_path / "data")
    asyncio.run(service.enrolling.enroll("hall", CROPS, [NewItem()] * 3))
    site = service.sites.get("hall")
    centred = dataclasses.replace(site.state.version, space_id="with centres")
    monkeypatch.setattr(site, "state", dataclasses.replace(site.state, version=centred))
    cameras: list[str | None] = []
    embed = service.embedding.embed

    async def noted(profile: str, crops: Any, of: list[str | None], *rest: Any) -> Any:
        cameras.extend(of)
        return await embed(profile, crops, of, *rest)

    monkeypatch.setattr(service.embedding, "embed", noted)
    answer = asyncio.run(service.vectoring.embed("hall", CROPS, ["door", None, "gate"]))
    service.close()
    assert cameras == ["door", None, "gate"]
    assert answer.raw_space_id == centred.raw_space_id != centred.space_id
