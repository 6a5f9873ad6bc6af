"""Which engine serves which profile: equal tables share one, camera tables another, centres need none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import server.engines
from reid.bundle import Bundle
from reid.profile import Profile
from server.errors import EngineFailed
from server.service import Service
from tests.test_centred_index import enroll, swap, with_centres, with_tables
from tests.test_engine_cache import wait_until
from tests.tiny import HEIGHT, WIDTH, make_tiny_bundle, open_tiny, site_profile

GREY = np.full((2, HEIGHT, WIDTH, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle that numpy computes."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path) -> Iterator[Service]:
    """A service without sites."""
    opened = open_tiny(bundle, tmp_path / "data")
    yield opened
    opened.close()


class Counted:
    """Counts what an engine compiles."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folded = self.shared = 0
        self.broken = False
        engine = service.engines.base_engine
        real, real_rows = engine.with_profile, engine.with_rows

        def with_profile(profile: Profile) -> object:
            self.folded += 1
            return real(profile)

        def with_rows() -> object:
            self.shared += 1
            if self.broken:
                raise RuntimeError("no memory")
            return real_rows()

        monkeypatch.setattr(engine, "with_profile", with_profile)
        monkeypatch.setattr(engine, "with_rows", with_rows)


def use(service: Service, profile: Profile, camera: str | None = "door") -> np.ndarray:
    """float32 [24]: what embeds one grey crop of a camera for a kept profile."""
    service.store.versions.save_profile(profile)
    with service.engines.lease(profile.id) as engine:
        return engine.submit(GREY[:1], [camera]).result(30)[0]


def test_centres_compile_nothing(service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, folded = Counted(service, monkeypatch), site_profile(bundle, 1)
    for profile in (folded, with_centres(folded, 1), with_centres(folded, 2)):
        use(service, profile)
    assert np.array_equal(use(service, with_centres(bundle.profile(), 1)), use(service, bundle.profile()))
    assert (counted.folded, counted.shared) == (1, 0)
    assert set(service.engines.slots) == {folded.id}
    assert service.engines.peek(with_centres(bundle.profile(), 1).id) is service.engines.base
    assert service.engines.peek(with_centres(folded, 1).id) is service.engines.peek(folded.id)


def test_every_profile_with_camera_tables_is_served_by_one_engine(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(service, monkeypatch)
    assert service.status.server().lanes == {"folded": 0, "shared": 0}
    profiles = [with_tables(bundle, seed) for seed in (1, 5, 9)]
    for profile in profiles:
        doors, halls = use(service, profile, "door"), use(service, profile, "hall")
        assert np.abs(doors - halls).max() > 0.01
    use(service, site_profile(bundle, 1))
    assert (counted.folded, counted.shared) == (1, 1)
    assert service.status.server().lanes == {"folded": 1, "shared": 1}
    assert {service.engines.peek(profile.id) for profile in profiles} == {service.engines.shared}


def test_crops_of_many_profiles_share_a_batch(service: Service, bundle: Bundle) -> None:
    profiles = [with_tables(bundle, seed) for seed in range(1, 21, 4)]
    alone = [use(service, profile) for profile in profiles]
    shared = service.engines.shared
    assert shared is not None
    before = shared.batches
    leases = [service.engines.lease(profile.id) for profile in profiles]
    engines = [lease.__enter__() for lease in leases]
    futures = [engine.submit(GREY, ["door", "hall"]) for engine in engines for _ in range(20)]
    answers = [future.result(30)[0] for future in futures]
    for lease in leases:
        lease.__exit__(None, None, None)
    assert np.abs(np.stack(answers) - np.repeat(np.stack(alone), 20, axis=0)).max() < 1e-6
    assert shared.batches - before < len(futures) / 2


def test_folded_engines_do_not_push_out_the_shared_one(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.engines.room = 1
    profile, counted = with_tables(bundle, 1), Counted(service, monkeypatch)
    use(service, profile)
    for seed in (1, 2, 3):
        use(service, site_profile(bundle, seed))
    use(service, profile)
    assert set(service.engines.slots) == {site_profile(bundle, 3).id, profile.id}
    assert (counted.folded, counted.shared) == (3, 1)


def test_packed_tables_that_there_is_no_room_for_are_read_again(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = with_tables(bundle, 1), with_tables(bundle, 5)
    counted, before = Counted(service, monkeypatch), use(service, first)
    with service.engines.lease(first.id) as engine:
        assert engine.packed is not None
        monkeypatch.setattr(server.engines, "_PACKED_BYTES", engine.packed.nbytes)
    use(service, second)
    assert set(service.engines.slots) == {second.id}
    assert np.array_equal(use(service, first), before)
    assert counted.shared == 1


def test_what_no_site_uses_any_more_is_forgotten_and_the_shared_engine_goes_on(
    service: Service, bundle: Bundle
) -> None:
    first, second = with_tables(bundle, 1), with_tables(bundle, 5)
    use(service, first), use(service, second)
    service.engines.keep_only({with_centres(second, 1).id})
    assert set(service.engines.slots) == {second.id}
    assert np.array_equal(use(service, second), use(service, with_centres(second, 1)))


def test_a_shared_engine_that_cannot_be_compiled_is_tried_again(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, profile = Counted(service, monkeypatch), with_tables(bundle, 1)
    counted.broken = True
    with pytest.raises(EngineFailed, match="no memory"):
        use(service, profile)
    assert (service.engines.slots, service.engines.lanes["shared"]) == ({}, 0)
    counted.broken = False
    use(service, profile)
    assert counted.shared == 2


def test_crops_that_wait_for_the_shared_engine_are_counted_once(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = [with_tables(bundle, 1), with_tables(bundle, 5)]
    for profile in profiles:
        use(service, profile)
    assert service.engines.shared is not None
    monkeypatch.setattr(service.engines.shared, "queued", 7)
    assert service.engines.queued == 7


def test_a_start_and_a_swap_make_ready_what_the_first_answer_needs(
    service: Service, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enroll(service, "north")
    enroll(service, "south")
    tables = with_centres(with_tables(bundle, 1), 1)
    swap(service, tables, "north")
    swap(service, site_profile(bundle, 7), "south")
    counted = Counted(service, monkeypatch)
    enroll(service, "north")
    assert (counted.folded, counted.shared) == (0, 0)
    service.close()
    again = open_tiny(bundle, tmp_path / "data")
    assert again.engines.lanes == {"folded": 1, "shared": 1}
    again.engines.room = 1  # a second start where folded ones have taken all the room before
    again.engines.keep_only(())
    wait_until(lambda: not again.engines.slots)
    again.engines.shared = None
    again.engines.warm([site_profile(bundle, 7).id, tables.id])
    assert again.engines.lanes == {"folded": 1, "shared": 1}
    again.close()
