"""The HTTP API against a real server."""

import dataclasses
import io
import json
import time
import uuid

import httpx
import numpy as np
import pytest
from PIL import Image
from resight_client import Client, ResightError

from benchmarks.serving import ServerProcess
from tests.conftest import enroll_people

People = list[tuple[bytes, str, str]]


def site() -> str:
    """A site nobody else uses."""
    return f"site-{uuid.uuid4().hex[:8]}"


def test_an_enrolled_crop_is_found_first(client: Client, people: People) -> None:
    name = site()
    ids = enroll_people(client, name, people)
    for i in (0, 17, 47):
        first = client.query(name, people[i][0]).matches[0]
        assert first.id == ids[i]
        assert first.score == pytest.approx(1.0, abs=2e-3)
        assert (first.identity, first.camera) == people[i][1:]
    assert client.site(name).items == len(people)


def test_ranks_ascend_and_scores_descend(client: Client, people: People) -> None:
    name = site()
    enroll_people(client, name, people)
    found = client.query(name, people[3][0], top_k=30)
    assert [m.rank for m in found.matches] == list(range(1, 31))
    scores = [m.score for m in found.matches]
    assert scores == sorted(scores, reverse=True)
    assert found.version == 1
    assert found.space_id == client.site(name).space_id


def test_query_by_item_equals_query_by_its_crop(client: Client, people: People) -> None:
    name = site()
    ids = enroll_people(client, name, people)
    by_item = client.query(name, item_id=ids[5], top_k=20).matches
    by_crop = client.query(name, people[5][0], top_k=21).matches
    assert by_crop[0].id == ids[5]
    assert [m.score for m in by_item] == pytest.approx([m.score for m in by_crop[1:]], abs=3e-3)


def test_an_item_is_no_match_of_its_own(client: Client, people: People) -> None:
    name = site()
    ids = enroll_people(client, name, people[:3])
    assert [m.rank for m in client.query(name, item_id=ids[1], top_k=2).matches] == [1, 2]
    for top_k in (2, 3, 100):
        assert {m.id for m in client.query(name, item_id=ids[1], top_k=top_k).matches} == {ids[0], ids[2]}
    assert client.query(name, item_id=ids[1], filter={"camera": people[1][2]}, top_k=1).matches


def test_a_tracklet_is_one_query(client: Client, people: People) -> None:
    name = site()
    enroll_people(client, name, people)
    one_person = [data for data, identity, _ in people if identity == "person-4"]
    assert len(client.query(name, one_person, top_k=7).matches) == 7


def test_filters_are_obeyed(client: Client, people: People) -> None:
    name = site()
    records = [
        {"identity": i, "camera": c, "captured_at": 1000 + n, "metadata": {"n": n}}
        for n, (_, i, c) in enumerate(people)
    ]
    client.enroll(name, [data for data, _, _ in people], records=records)
    crop = people[0][0]

    def found(**options: object) -> list[dict[str, object]]:
        return [vars(m) for m in client.query(name, crop, top_k=100, **options).matches]  # type: ignore[arg-type]

    assert {m["camera"] for m in found(filter={"camera": "cam-1"})} == {"cam-1"}
    assert {m["identity"] for m in found(filter={"identity": "person-3"})} == {"person-3"}
    assert len(found(filter={"captured_after": 1010, "captured_before": "1970-01-01T00:17:00Z"})) == 10
    assert [m["metadata"] for m in found(filter={"metadata": {"n": 7}})] == [{"n": 7}]
    assert {m["camera"] for m in found(camera="cam-0", exclude_same_camera=True)} == {"cam-1"}
    assert found(filter={"camera": "nowhere"}) == []
    assert all(m["score"] >= 0.9 for m in found(threshold=0.9))  # type: ignore[operator]


def test_items_are_read_listed_and_paged(client: Client, server: ServerProcess, people: People) -> None:
    name = site()
    ids = enroll_people(client, name, people)
    assert client.item(ids[0]).identity == "person-0"
    assert httpx.get(f"{server.url}/gallery/{ids[0]}/image").content == people[0][0]
    listed, cursor = [], None
    while True:
        page = client.items(name, cursor=cursor, limit=20)
        listed += [item.id for item in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert listed == ids
    assert client.items(name, limit=len(ids)).cursor is None  # there are no more
    assert [item.id for item in client.items(name, camera="cam-1", identity="person-2").items] == ids[10:12]


def test_an_erased_person_is_never_returned(client: Client, server: ServerProcess, people: People) -> None:
    name = site()
    ids = enroll_people(client, name, people)
    assert client.erase_identity(name, "person-0").erased == 4
    assert client.erase(ids[4]).erased == 1
    gone = set(ids[:5])
    for data, _, _ in people[:5]:
        assert not gone & {m.id for m in client.query(name, data, top_k=100).matches}
    assert client.site(name).items == len(people) - 5
    assert httpx.get(f"{server.url}/gallery/{ids[0]}/image").status_code == 404
    with pytest.raises(ResightError) as caught:
        client.query(name, item_id=ids[0])
    assert caught.value.status == 404
    assert client.erase_identity(name, "person-0").erased == 0


def test_an_enroll_is_not_repeated_under_its_key(client: Client, people: People) -> None:
    name, key = site(), uuid.uuid4().hex
    images = [data for data, _, _ in people[:4]]
    first = client.enroll(name, images, camera="a", idempotency_key=key)
    again = client.enroll(name, images, camera="a", idempotency_key=key)
    assert again == dataclasses.replace(first, enrolled_before=True) != first
    assert client.site(name).items == 4
    others = [data for data, _, _ in people[4:8]]
    for content, camera in ((images[:2], "a"), (others, "a"), (images, "b")):
        with pytest.raises(ResightError) as caught:
            client.enroll(name, content, camera=camera, idempotency_key=key)
        assert caught.value.status == 409
    assert client.site(name).items == 4


def test_a_repeated_partial_request_reports_the_same_errors(client: Client, people: People) -> None:
    name, key = site(), uuid.uuid4().hex
    images = [people[0][0], b"no image", people[1][0], b""]
    first = client.enroll(name, images, partial=True, idempotency_key=key)
    assert [error["index"] for error in first.errors] == [1, 3] and len(first.items) == 2
    again = client.enroll(name, images, partial=True, idempotency_key=key)
    assert again == dataclasses.replace(first, enrolled_before=True) != first


@pytest.mark.parametrize("partial", [False, True])
def test_an_enroll_of_which_nothing_is_stored_leaves_no_site(client: Client, partial: bool) -> None:
    name = site()
    if partial:
        answer = client.enroll(name, [b"no image"], partial=True)
        assert (answer.version, len(answer.items), len(answer.errors)) == (1, 0, 1)
    else:
        with pytest.raises(ResightError, match="not a JPEG"):
            client.enroll(name, [b"no image"])
    with pytest.raises(ResightError, match="there is no site"):
        client.site(name)


def test_sites_do_not_see_each_other(client: Client, people: People) -> None:
    one, other = site(), site()
    enroll_people(client, one, people[:8])
    ids = enroll_people(client, other, people[8:16])
    assert {m.id for m in client.query(other, people[0][0], top_k=100).matches} == set(ids)
    with pytest.raises(ResightError) as caught:
        client.query(one, item_id=ids[0])
    assert caught.value.status == 404


def test_exif_orientation_is_honoured(client: Client, people: People) -> None:
    name = site()
    ids = enroll_people(client, name, people[:8])
    upright = Image.open(io.BytesIO(people[2][0]))
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # the camera was turned: the picture has to be turned back by 270 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    assert client.query(name, buffer.getvalue()).matches[0].id == ids[2]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_every_accepted_format_and_colour_model(client: Client, people: People, kind: str) -> None:
    name = site()
    picture = Image.open(io.BytesIO(people[0][0]))
    modes = {"PNG": ["RGB", "RGBA", "L", "P", "LA"], "WEBP": ["RGB", "RGBA"], "JPEG": ["RGB", "L"]}[kind]
    images = []
    for mode in modes:
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, kind)
        images.append(buffer.getvalue())
    assert len(client.enroll(name, images).items) == len(modes)


def test_the_server_tells_what_runs(client: Client, server: ServerProcess) -> None:
    info = client.info()
    assert info["engine"]["engine"] == "openvino"
    assert info["bundle"]["dim"] == 512
    assert httpx.get(f"{server.url}/health").json() == {"status": "alive"}
    assert httpx.get(f"{server.url}/ready").json() == {"status": "ready", "purged": True}
    metrics = httpx.get(f"{server.url}/metrics").text
    assert "resight_requests_total" in metrics
    assert 'call="GET /info"' in metrics


def test_openapi_has_every_call_with_its_errors(server: ServerProcess) -> None:
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    expected = {
        "/gallery",
        "/gallery/{item_id}",
        "/gallery/{item_id}/image",
        "/query",
        "/embed",
        "/adapt",
        "/adapt/{job}",
        "/adapt/{job}/events",
    }
    expected |= {
        "/sites",
        "/sites/{site}",
        "/sites/{site}/adapt-after",
        "/sites/{site}/rollback",
        "/sites/{site}/calibrate",
        "/info",
        "/health",
        "/ready",
        "/metrics",
    }
    expected |= {
        f"/people{path}"
        for path in ("", "/different", "/feature", "/hide", "/map", "/merge", "/rename", "/split")
    }
    expected |= {"/clusters", "/clusters/{item}", "/clusters/name"}
    expected |= {"/sites/{site}/review", "/sites/{site}/review/{case}"}
    expected |= {"/gallery/update", "/journal", "/journal/{entry}", "/journal/{entry}/undo"}
    assert set(paths) == expected
    assert all("default" in call["responses"] for calls in paths.values() for call in calls.values())
    assert httpx.get(f"{server.url}/docs").status_code == 200


def test_scores_are_cosines_of_the_stored_vectors(client: Client, people: People) -> None:
    """Every pair of items, asked from both sides, has one score."""
    name = site()
    ids = enroll_people(client, name, people[:10])
    matrix = np.zeros((10, 10))
    for i, item in enumerate(ids):
        for match in client.query(name, item_id=item, top_k=10).matches:
            matrix[i, ids.index(match.id)] = match.score
    assert np.allclose(matrix, matrix.T, atol=1e-5)
    assert not np.diag(matrix).any()  # an item is no match of its own
    assert json.dumps(matrix.tolist())


def test_no_answer_waits_for_a_delayed_acknowledgement(client: Client) -> None:
    """Nagle's algorithm would add 40 ms to every answer of a kept connection, the fastest included."""
    times = []
    for _ in range(20):
        began = time.perf_counter()
        client.http.get("/health")
        times.append(time.perf_counter() - began)
    assert min(times[1:]) < 0.03
