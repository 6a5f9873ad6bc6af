"""What a query compares with: every crop of a tracklet, the item's own camera, a threshold."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from server.errors import BadRequest, NotFound, TooLarge, Unprocessable
from server.gallery.filters import ItemFilter
from server.gallery.records import Item, NewItem
from server.query import Match
from server.service import Service
from tests.tiny import embedding_of, make_tiny_bundle, negative, open_tiny, picture

GALLERY = range(12)
CAMERAS = ("door", "hall", None)
NO_FILTER = ItemFilter()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose site `lobby` holds pictures 0 to 11, their cameras taking turns."""
    folder = tmp_path_factory.mktemp("tracklet")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data", max_tracklet=6, max_top_k=50)
    enroll(opened, "lobby")
    yield opened
    opened.close()


def enroll(service: Service, site: str) -> list[Item]:
    """Enrolls the gallery."""
    records = [NewItem(camera=CAMERAS[i % 3], identity=f"person-{i}") for i in GALLERY]
    return asyncio.run(service.enrolling.enroll(site, [picture(i) for i in GALLERY], records)).items


def ask(service: Service, images: list[bytes], **options: Any) -> list[Match]:
    """A query of the gallery."""
    return asyncio.run(service.querying.query("lobby", images, top_k=50, **options)).matches


def scores(matches: list[Match]) -> dict[str | None, float]:
    """Scores by identity."""
    return {match.item.identity: match.score for match in matches}


@pytest.mark.parametrize("crops", [(3,), (3, 20), (20, 21, 22), (5, 4, 3, 2, 1, 0)])
def test_a_tracklet_is_the_mean_of_all_its_crops(service: Service, crops: tuple[int, ...]) -> None:
    mean = np.mean([embedding_of(picture(i)) for i in crops], axis=0)
    expected = {f"person-{i}": mean @ embedding_of(picture(i)) / np.linalg.norm(mean) for i in GALLERY}
    assert scores(ask(service, [picture(i) for i in crops])) == pytest.approx(expected, abs=2e-3)


def test_the_order_of_a_tracklets_crops_changes_nothing(service: Service) -> None:
    images = [picture(i) for i in (1, 20, 21)]
    assert scores(ask(service, images)) == pytest.approx(scores(ask(service, images[::-1])), abs=1e-5)


def test_a_tracklet_whose_crops_cancel_each_other_out_is_refused(service: Service) -> None:
    with pytest.raises(Unprocessable, match="cancel each other out"):
        ask(service, [picture(1), negative(1)])


def test_a_tracklet_may_have_as_many_crops_as_the_setting_says(service: Service) -> None:
    assert ask(service, [picture(1)] * 6)
    with pytest.raises(TooLarge, match="7 images in one query; a tracklet may have 6"):
        ask(service, [picture(1)] * 7)


def test_a_bad_crop_of_a_tracklet_is_named_by_its_place(service: Service) -> None:
    with pytest.raises(Unprocessable, match="image 1") as caught:
        ask(service, [picture(1), b""])
    assert caught.value.facts == {"index": 1}


def test_a_query_has_images_or_an_item_and_never_both(service: Service) -> None:
    item = service.store.items.page("lobby", NO_FILTER, 0, 1)[0].id
    for images, item_id in (([], None), ([picture(0)], item)):
        with pytest.raises(BadRequest, match="either images"):
            ask(service, images, item_id=item_id)


def test_an_enrolled_item_brings_its_own_camera(service: Service) -> None:
    door = service.store.items.page("lobby", NO_FILTER, 0, 1)[0]
    assert door.camera == "door"
    answered = ask(service, [], item_id=door.id, exclude_same_camera=True)
    assert {match.item.camera for match in answered} == {"hall", None}
    with pytest.raises(BadRequest, match="query_camera 'hall' contradicts item_id"):
        ask(service, [], item_id=door.id, query_camera="hall")


def test_an_item_without_a_camera_is_given_one_by_the_query(service: Service) -> None:
    unknown = service.store.items.page("lobby", NO_FILTER, 0, 3)[2]
    answered = ask(service, [], item_id=unknown.id, query_camera="hall", exclude_same_camera=True)
    assert {match.item.camera for match in answered} == {"door", None}


def test_excluding_the_same_camera_needs_a_camera(service: Service) -> None:
    unknown = service.store.items.page("lobby", NO_FILTER, 0, 3)[2]
    assert unknown.camera is None
    for query in ({"images": [picture(0)]}, {"images": [], "item_id": unknown.id}):
        with pytest.raises(BadRequest, match="needs the query's camera"):
            ask(service, **query, exclude_same_camera=True)  # type: ignore[arg-type]


def test_the_querys_camera_alone_leaves_nothing_out(service: Service) -> None:
    assert len(ask(service, [picture(0)], query_camera="door")) == len(GALLERY)


def test_a_threshold_returns_what_reaches_it(service: Service) -> None:
    everything = ask(service, [picture(3)])
    lowest = everything[4].score
    assert ask(service, [picture(3)], threshold=lowest) == everything[:5]
    assert ask(service, [picture(3)], threshold=lowest + 1e-6) == everything[:4]


@pytest.mark.parametrize("top_k", [0, -1, 51])
def test_top_k_has_bounds(service: Service, top_k: int) -> None:
    with pytest.raises(BadRequest, match=f"top_k is {top_k}; it must lie between 1 and 50"):
        asyncio.run(service.querying.query("lobby", [picture(0)], top_k=top_k))


def test_top_k_cuts_the_same_ranking(service: Service) -> None:
    everything = ask(service, [picture(3)])
    first = asyncio.run(service.querying.query("lobby", [picture(3)], top_k=1)).matches
    assert first == everything[:1]
    assert [match.rank for match in everything] == list(range(1, len(GALLERY) + 1))


def test_an_item_of_another_site_is_no_query(service: Service) -> None:
    other = enroll(service, "elsewhere")[0]
    with pytest.raises(NotFound, match="at site 'lobby'"):
        ask(service, [], item_id=other.id)


def test_an_answer_says_how_long_each_stage_took(service: Service) -> None:
    by_image = asyncio.run(service.querying.query("lobby", [picture(0)]))
    assert set(by_image.seconds) == {"decode", "embed", "search"}
    assert all(0 < seconds < 60 for seconds in by_image.seconds.values())
    item = service.store.items.page("lobby", NO_FILTER, 0, 1)[0].id
    assert set(asyncio.run(service.querying.query("lobby", item_id=item)).seconds) == {"search"}
