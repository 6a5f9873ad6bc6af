"""An item whose camera is corrected is compared by the new one: at once, after swaps and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.profile import Centres, Profile
from server.errors import Conflict
from server.gallery import tables as t
from server.gallery.faiss_index import FaissIndex
from server.gallery.filters import ItemFilter
from server.gallery.index import SearchFilter
from server.gallery.records import NewItem
from server.service import Service
from tests.tiny import DIM, embedding_of, make_tiny_bundle, open_tiny, picture, site_profile

COUNT = 6


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with items at camera door of site `lobby`."""
    opened = open_tiny(make_tiny_bundle(tmp_path), tmp_path / "data")
    records = [NewItem("door", f"p{n}") for n in range(COUNT)]
    asyncio.run(opened.enrolling.enroll("lobby", [picture(n) for n in range(COUNT)], records))
    yield opened
    opened.close()


def camera_profile(service: Service, seed: int = 0) -> Profile:
    """Tables and centres of their own for camera hall."""
    site, hall = site_profile(service.bundle, seed), site_profile(service.bundle, seed + 1)
    rng = np.random.default_rng(seed)
    centres = Centres(
        rng.normal(0, 0.1, DIM).astype(np.float32), {"hall": rng.normal(0, 0.1, DIM).astype(np.float32)}
    )
    return Profile(site.base, site.site, {"hall": hall.site}, centres=centres)


def adapt(service: Service, profile: Profile) -> None:
    """Puts the site on a profile, as an adaptation does."""
    service.store.versions.save_profile(profile)
    site = service.sites.get("lobby")
    service.rebuilder.run(site, profile.id, "adapt", site.state.version.version)


def move(service: Service, place: int, camera: str | None) -> int:
    """Corrects the camera of the item at this place; returns the entry."""
    item = service.store.items.page("lobby", ItemFilter(), 0, 100)[place]
    _, corrected = asyncio.run(service.correcting.update_item(item.id, {"camera": camera}, None, "me"))
    assert corrected.entry is not None
    return corrected.entry


def require_right(service: Service, profile: Profile, cameras: list[str | None]) -> None:
    """The store and the index hold what the network makes of every picture with its camera."""
    state = service.sites.get("lobby").state
    seqs = service.store.items.seqs("lobby").tolist()
    assert state.index.seqs().tolist() == seqs
    for place, (seq, camera) in enumerate(zip(seqs, cameras, strict=True)):
        stored = service.store.embeddings.get(seq, state.version.raw_space_id)
        assert stored == pytest.approx(embedding_of(picture(place), profile, camera), abs=1e-3)
        compared = state.compare(stored[None], [camera])[0]
        scores, nearest = state.index.search(compared, 1)
        assert (nearest.tolist(), scores[0]) == ([seq], pytest.approx(1.0, abs=2e-3))


def test_a_new_camera_is_compared_by_its_table_and_centre_and_so_is_an_undo(service: Service) -> None:
    profile = camera_profile(service)
    adapt(service, profile)
    require_right(service, profile, ["door"] * COUNT)
    entry = move(service, 1, "hall")
    move(service, 4, None)
    require_right(service, profile, ["door", "hall", "door", "door", None, "door"])
    excluded = asyncio.run(
        service.querying.query("lobby", [picture(1)], query_camera="hall", exclude_same_camera=True)
    )
    assert len(excluded.matches) == COUNT - 1
    asyncio.run(service.journal.undo(entry, "me"))
    require_right(service, profile, ["door", "door", "door", "door", None, "door"])


def test_a_restart_answers_as_before(service: Service, tmp_path: Path) -> None:
    profile = camera_profile(service)
    adapt(service, profile)
    move(service, 2, "hall")
    before = asyncio.run(service.querying.query("lobby", [picture(9)], top_k=COUNT)).matches
    service.close()
    again = open_tiny(service.bundle, tmp_path / "data")
    assert asyncio.run(again.querying.query("lobby", [picture(9)], top_k=COUNT)).matches == before
    require_right(again, profile, ["door", "door", "hall", "door", "door", "door"])
    again.close()


def test_a_camera_that_is_corrected_while_the_site_is_embedded_anew_is_right_after_the_swap(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the new embedding is stored, and after everything was read for the new index."""
    profile = camera_profile(service)
    embed, swap = service.embedding.embed_stored, service.rebuilder._swap
    moved: list[int] = []

    def embed_late(engine: Any, images: Any, items: Any) -> np.ndarray:
        vectors = embed(engine, images, items)
        if not moved:
            moved.append(move(service, 0, "hall"))
        return vectors

    def swap_late(*args: Any) -> None:
        moved.append(move(service, 3, "hall"))
        swap(*args)

    monkeypatch.setattr(service.embedding, "embed_stored", embed_late)
    monkeypatch.setattr(service.rebuilder, "_swap", swap_late)
    adapt(service, profile)
    assert len(moved) == 2
    require_right(service, profile, ["hall", "door", "door", "hall", "door", "door"])


def test_a_camera_that_is_corrected_while_the_index_is_made_is_right_where_only_centres_differ(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedding stays then, so nothing is embedded again that would put the item right."""
    profile = service.engines.base_profile.with_centres(camera_profile(service).centres)
    swap = service.rebuilder._swap

    def swap_late(*args: Any) -> None:
        move(service, 3, "hall")
        swap(*args)

    monkeypatch.setattr(service.rebuilder, "_swap", swap_late)
    adapt(service, profile)
    require_right(service, profile, ["door", "door", "door", "hall", "door", "door"])
    _, nearest = service.sites.get("lobby").state.index.search(
        np.ones(DIM, np.float32), COUNT, SearchFilter(camera="hall")
    )
    assert len(nearest) == 1


def test_a_rollback_embeds_a_moved_item_anew(service: Service) -> None:
    first, second = camera_profile(service), camera_profile(service, 10)
    adapt(service, first)
    adapt(service, second)
    move(service, 2, "hall")
    adapt(service, first)
    require_right(service, first, ["door", "door", "hall", "door", "door", "door"])


def test_without_an_image_a_camera_with_another_table_is_refused(service: Service) -> None:
    adapt(service, camera_profile(service))
    with service.store.database.write() as db:
        db.execute(t.images.delete())
    with pytest.raises(Conflict, match="the image of the item is not kept"):
        move(service, 0, "hall")
    move(service, 0, "yard")  # has the table of the site, as the door has
    assert [e.action for e in service.store.journal.page("lobby", None, None, 10, 10)] == ["update"]


@pytest.mark.parametrize("seed", range(3))
def test_rows_put_into_the_index_agree_with_a_new_index(seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = FaissIndex(8, segment=20, delta=7)
    truth: dict[int, tuple[str, np.ndarray]] = {}
    order = rng.permutation(90)
    index.add(sorted(order[:60]), ["a"] * 60, np.zeros((60, 8), np.float32))
    truth |= {int(seq): ("a", np.zeros(8, np.float32)) for seq in order[:60]}
    for _ in range(12):
        seqs = np.sort(rng.choice(90, int(rng.integers(1, 30)), replace=False))
        vectors = rng.normal(size=(len(seqs), 8)).astype(np.float16).astype(np.float32) / 8
        cameras = [str(camera) for camera in rng.choice(["a", "b"], len(seqs))]
        index.put(seqs, cameras, vectors)
        truth |= {int(seq): (cameras[row], vectors[row]) for row, seq in enumerate(seqs)}
    fresh = FaissIndex(8)
    held = sorted(truth)
    fresh.add(held, [truth[seq][0] for seq in held], np.stack([truth[seq][1] for seq in held]))
    assert index.seqs().tolist() == held
    query = rng.normal(size=8).astype(np.float32)
    for where in (None, SearchFilter(camera="b"), SearchFilter(left_out=np.array(held[::3]))):
        (scores, found), (expected, same) = index.search(query, 90, where), fresh.search(query, 90, where)
        assert scores == pytest.approx(expected, abs=2e-6)  # sealed rows are multiplied by another library
        assert set(found) == set(same)
