"""Cameras have tables and centres of their own: what is enrolled, asked and re-embedded is computed with the
table of its camera and compared with the centre of its camera. Every expectation is computed by hand."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

import server.rebuild
from reid.bundle import Bundle
from reid.profile import Centres, Profile
from server.errors import Conflict, StartError
from server.gallery.filters import AnyOf, ItemFilter
from server.gallery.indexes import add_chunk
from server.gallery.records import NewItem, Version
from server.query import Answer
from server.service import Service
from tests.tiny import DIM, embedding_of, make_tiny_bundle, open_tiny, picture, site_profile

GALLERY = range(9)
CAMERAS: tuple[str | None, ...] = ("door", "hall", None)
QUERY_CAMERAS = ("door", "hall", "elsewhere", None)  # one that the profile does not know, and none


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle that numpy computes."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """A service whose site `lobby` holds pictures 0 to 8, their cameras taking turns."""
    opened = open_tiny(bundle, tmp_path / "data")
    enroll(opened)
    yield opened
    opened.close()


def enroll(service: Service, site: str = "lobby", seeds: range = GALLERY) -> list[str]:
    """Enrolls pictures and returns their ids."""
    records = [NewItem(camera=CAMERAS[i % 3], identity=f"person-{i}") for i in seeds]
    return [item.id for item in asyncio.run(enrolling(service, site, seeds, records)).items]


def enrolling(service: Service, site: str, seeds: range, records: list[NewItem]) -> Any:
    """The enroll that `enroll` runs."""
    return service.enrolling.enroll(site, [picture(i) for i in seeds], records)


def with_tables(bundle: Bundle, seed: int) -> Profile:
    """A profile with tables of two cameras."""
    tables = {camera: site_profile(bundle, seed + i).site for i, camera in enumerate(("door", "hall"), 1)}
    return dataclasses.replace(site_profile(bundle, seed), cameras=tables)


def with_centres(profile: Profile, seed: int) -> Profile:
    """The same tables with other centres, far enough from each other to change every score."""
    rng = np.random.default_rng(seed)
    site, door, hall = (rng.normal(0, 0.15, (3, DIM))).astype(np.float32)
    return profile.with_centres(Centres(site, {"door": door, "hall": hall}))


def swap(service: Service, profile: Profile, site: str = "lobby", cause: str = "adapt") -> Version:
    """Puts a site on a profile, as the end of an adaptation does."""
    service.store.versions.save_profile(profile)
    live = service.sites.get(site)
    return service.rebuilder.run(live, profile.id, cause, live.state.version.version)


def by_hand(profile: Profile, seed: int, camera: str | None) -> np.ndarray:
    """float64 [24]: what is compared of a picture that a camera took."""
    vector = embedding_of(picture(seed), profile, camera)
    if profile.centres is not None:
        vector = vector - profile.centres.cameras.get(camera or "", profile.centres.site)
    return vector / np.linalg.norm(vector)


def scores_by_hand(profile: Profile, query: np.ndarray, seeds: range = GALLERY) -> dict[str | None, float]:
    """Every score of the gallery, by identity."""
    return {f"person-{i}": float(by_hand(profile, i, CAMERAS[i % 3]) @ query) for i in seeds}


def ask(service: Service, seed: int = 20, **options: Any) -> Answer:
    """A query of the whole gallery for one picture."""
    return asyncio.run(service.querying.query("lobby", [picture(seed)], top_k=50, **options))


def scores(answer: Answer) -> dict[str | None, float]:
    """Scores by identity."""
    return {match.item.identity: match.score for match in answer.matches}


def ranking(answer: Answer) -> list[tuple[str, float]]:
    """What a query answered, digit by digit."""
    return [(match.item.id, match.score) for match in answer.matches]


def close_to(expected: dict[str | None, float]) -> Any:
    """Equal but for the store's half precision."""
    return pytest.approx(expected, abs=3e-3)


PROFILES = ("tables", "centres", "both", "centres of the bundle")


def make(bundle: Bundle, kind: str, seed: int = 1) -> Profile:
    """A profile with what its name says."""
    if kind == "tables":
        return with_tables(bundle, seed)
    if kind == "centres of the bundle":
        return with_centres(bundle.profile(), seed)
    return with_centres(site_profile(bundle, seed) if kind == "centres" else with_tables(bundle, seed), seed)


@pytest.mark.parametrize("camera", QUERY_CAMERAS)
@pytest.mark.parametrize("kind", PROFILES)
def test_a_crop_is_computed_and_compared_as_its_camera_wants(
    service: Service, bundle: Bundle, kind: str, camera: str | None
) -> None:
    """Half of the gallery is re-embedded by the swap, the other half enrolled behind it."""
    profile = make(bundle, kind)
    swap(service, profile)
    enroll(service, seeds=range(9, 15))
    expected = scores_by_hand(profile, by_hand(profile, 20, camera), range(15))
    assert scores(ask(service, query_camera=camera)) == close_to(expected)


def test_what_is_stored_is_computed_with_the_cameras_table_and_not_centred(
    service: Service, bundle: Bundle
) -> None:
    profile = make(bundle, "both")
    version = swap(service, profile)
    enroll(service, seeds=range(9, 12))
    (stored,) = service.store.embeddings.of_site("lobby", version.raw_space_id)
    expected = [embedding_of(picture(i), profile, CAMERAS[i % 3]) for i in range(12)]
    assert stored.vectors == pytest.approx(np.stack(expected), abs=1e-3)
    assert version.raw_space_id == service.engines.space(profile.tables_id) != version.space_id


def test_all_crops_of_a_tracklet_are_of_the_querys_camera(service: Service, bundle: Bundle) -> None:
    profile = make(bundle, "both")
    swap(service, profile)
    mean = by_hand(profile, 20, "hall") + by_hand(profile, 21, "hall")
    images = [picture(20), picture(21)]
    answer = asyncio.run(service.querying.query("lobby", images, top_k=50, query_camera="hall"))
    assert scores(answer) == close_to(scores_by_hand(profile, mean / np.linalg.norm(mean)))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_enrolled_item_is_compared_as_its_own_camera_wants(
    service: Service, bundle: Bundle, place: int
) -> None:
    profile = make(bundle, "both")
    swap(service, profile)
    item = service.store.items.page("lobby", ItemFilter(), 0, 9)[place]
    answer = asyncio.run(service.querying.query("lobby", item_id=item.id, top_k=50))
    expected = scores_by_hand(profile, by_hand(profile, place, CAMERAS[place]))
    assert expected.pop(f"person-{place}") == pytest.approx(1)
    assert scores(answer) == close_to(expected)


def test_other_centres_embed_nothing_compile_nothing_and_roll_back_to_the_same_answers(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make(bundle, "both", 1), with_centres(make(bundle, "both", 1), 5)
    old = swap(service, first)
    service.rebuilder.drop_unused()  # must not take what the live version is compared from
    before = ask(service, query_camera="door")
    monkeypatch.setattr(service.embedding, "embed_stored", None)
    monkeypatch.setattr(service.engines, "base_engine", None)
    new = swap(service, second)
    after = ask(service, query_camera="door")
    assert (old.raw_space_id, old.space_id != new.space_id) == (new.raw_space_id, True)
    assert scores(after) == close_to(scores_by_hand(second, by_hand(second, 20, "door")))
    assert max(abs(scores(after)[name] - scores(before)[name]) for name in scores(after)) > 0.05
    service.rebuilder.drop_unused()
    swap(service, first, cause="rollback")
    again = ask(service, query_camera="door")
    assert (ranking(again), again.space_id) == (ranking(before), before.space_id)


def test_no_answer_mixes_two_profiles(service: Service, bundle: Bundle) -> None:
    """Queries while the site goes back and forth between centres: each answer is wholly of its version."""
    profiles = [make(bundle, "both", 1), with_centres(make(bundle, "both", 1), 5)]
    expected = {}
    for profile in profiles:
        swap(service, profile)
        answer = ask(service, query_camera="hall")
        expected[answer.space_id] = ranking(answer)
    swapping = threading.Thread(target=lambda: [swap(service, profiles[i % 2]) for i in range(30)])
    swapping.start()
    answers = []
    while swapping.is_alive():
        answers.append(ask(service, query_camera="hall"))
    swapping.join()
    assert len({answer.version for answer in answers}) > 3
    assert all(ranking(answer) == expected[answer.space_id] for answer in answers)


@pytest.mark.parametrize("kind", PROFILES)
def test_a_restart_keeps_every_answer_to_the_last_digit(
    service: Service, bundle: Bundle, tmp_path: Path, kind: str
) -> None:
    swap(service, make(bundle, kind))
    enroll(service, seeds=range(9, 15))  # these were put into the index when they were enrolled
    before = ask(service, query_camera="door")
    service.close()
    again = open_tiny(bundle, tmp_path / "data")
    after = ask(again, query_camera="door")
    again.close()
    assert (ranking(after), after.space_id, after.version) == (ranking(before), before.space_id, 2)


def test_an_erased_item_stays_away_from_every_index(service: Service, bundle: Bundle) -> None:
    profile = make(bundle, "both")
    swap(service, profile)
    gone = ask(service).matches[0].item.id
    asyncio.run(service.items.erase_item(gone, "test"))
    assert gone not in dict(ranking(ask(service)))
    swap(service, with_centres(profile, 5))
    assert gone not in dict(ranking(ask(service)))
    assert len(ask(service).matches) == len(GALLERY) - 1


def test_centres_need_no_images_and_other_tables_do(bundle: Bundle, tmp_path: Path) -> None:
    service = open_tiny(bundle, tmp_path / "data", keep_images=False)
    enroll(service)
    profile = make(bundle, "centres of the bundle")
    swap(service, profile)
    before = ask(service, query_camera="door")
    assert scores(before) == close_to(scores_by_hand(profile, by_hand(profile, 20, "door")))
    with pytest.raises(Conflict, match="not kept"):
        swap(service, make(bundle, "tables"))
    assert ranking(ask(service, query_camera="door")) == ranking(before)
    service.close()


def test_what_is_enrolled_during_a_swap_of_centres_gets_the_new_ones_without_a_second_embedding(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make(bundle, "both", 1), with_centres(make(bundle, "both", 1), 5)
    swap(service, first)
    real, calls = service.embedding.embed, []

    async def embed(*arguments: Any) -> np.ndarray:
        vectors = await real(*arguments)
        calls.append(arguments[0])
        await asyncio.to_thread(swap, service, second)
        return vectors

    monkeypatch.setattr(service.embedding, "embed", embed)
    records = [NewItem(camera=CAMERAS[i % 3], identity=f"person-{i}") for i in range(9, 12)]
    committed = asyncio.run(enrolling(service, "lobby", range(9, 12), records))
    monkeypatch.undo()
    assert calls == [first.id]
    assert (committed.version, committed.space_id) == (3, service.engines.space(second.id))
    expected = scores_by_hand(second, by_hand(second, 20, "door"), range(12))
    assert scores(ask(service, query_camera="door")) == close_to(expected)


def test_what_is_enrolled_while_the_index_is_built_is_in_it(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make(bundle, "both", 1), with_centres(make(bundle, "both", 1), 5)
    swap(service, first)

    def build_slowly(*arguments: Any) -> None:
        add_chunk(*arguments)
        enroll(service, seeds=range(9, 12))
        asyncio.run(service.items.erase_where("lobby", only("person-0"), "test"))

    monkeypatch.setattr(server.rebuild, "add_chunk", build_slowly)
    swap(service, second)
    expected = scores_by_hand(second, by_hand(second, 20, "door"), range(1, 12))
    assert len(service.sites.get("lobby").state.index) == len(expected)  # the erased vector is not even held
    assert scores(ask(service, query_camera="door")) == close_to(expected)


def only(identity: str) -> Any:
    """A filter that lets one identity through."""
    return ItemFilter(columns=(("identity", AnyOf((identity,))),))


def test_a_gallery_whose_stored_vectors_are_of_another_space_is_refused(
    service: Service, bundle: Bundle, tmp_path: Path
) -> None:
    swap(service, make(bundle, "both"))
    with service.store.database.write() as db:
        db.execute(sa.text("UPDATE versions SET raw_space_id = 'space-other'"))
    service.close()
    with pytest.raises(StartError, match="cannot be compared"):
        open_tiny(bundle, tmp_path / "data")
