"""Engines of adapted sites: few are kept, none is closed under a request, and one is compiled once."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from reid.bundle import Bundle
from reid.engines import EngineInfo
from reid.profile import Profile
from server.batching import Batcher
from server.engine_memory import engine_bytes
from server.engines import Engines
from server.errors import Conflict, EngineClosed, EngineFailed, Stopping
from server.gallery.store import Store
from server.settings import Settings


@pytest.fixture
def engines(bundle: Bundle, tmp_path: Path) -> Iterator[Engines]:
    """Room for two adapted engines."""
    store = Store(tmp_path / "data")
    made = Engines(bundle, Settings(bundle=bundle.path, data=tmp_path / "data", device="cpu"), store)
    made.room = 2
    yield made
    made.close()
    store.close()


def adapted(engines: Engines, shift: float) -> Profile:
    """A kept profile whose means are moved."""
    move = np.array([0, 0, shift, 0], np.float32)[:, None]  # rows: gamma, beta, mean, variance
    site = {name: table + move for name, table in engines.base_profile.site.items()}
    profile = dataclasses.replace(engines.base_profile, site=site)
    engines.store.versions.save_profile(profile)
    return profile


def use(engines: Engines, profile: Profile, crops: np.ndarray | None = None) -> np.ndarray:
    """What the engine of a profile answers."""
    some = np.zeros((1, 96, 48, 3), np.uint8) if crops is None else crops
    with engines.lease(profile.id) as engine:
        return engine.submit(some, [None] * len(some)).result(30)


class Compiling:
    """Counts compilations and holds them back while its gate is shut; then the real engine compiles."""

    def __init__(self, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[str] = []
        self.gate = threading.Event()
        self.failing: set[str] = set()
        real = engines.base.engine.with_profile

        def with_profile(profile: Profile) -> object:
            self.started.append(profile.id)
            self.gate.wait(30)
            if profile.id in self.failing:
                raise RuntimeError("the runtime does not like these values")
            return real(profile)

        monkeypatch.setattr(engines.base.engine, "with_profile", with_profile)


def wait_until(condition: object, seconds: float = 30) -> None:
    """Waits for something that another thread does."""
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_engine_not_used_for_longest_goes_and_comes_back_the_same(
    engines: Engines, rng: np.random.Generator
) -> None:
    crops = rng.integers(0, 255, (3, 96, 48, 3), np.uint8)
    first, second, third = (adapted(engines, shift) for shift in (0.01, 0.02, 0.03))
    before = use(engines, first, crops)
    use(engines, second)
    use(engines, first)  # so the second is the older one
    use(engines, third)
    assert set(engines.slots) == {first.id, third.id}
    assert engines.peek(second.id) is None
    use(engines, second)
    assert set(engines.slots) == {third.id, second.id}
    assert np.array_equal(use(engines, first, crops), before)
    assert engines.peek(engines.base_id) is engines.base


def test_a_leased_engine_is_closed_only_when_its_last_lease_ends(engines: Engines) -> None:
    crops = np.zeros((1, 96, 48, 3), np.uint8)
    first = adapted(engines, 0.01)
    with engines.lease(first.id) as one:
        with engines.lease(first.id) as other:
            assert one is other
            for shift in (0.02, 0.03, 0.04):
                use(engines, adapted(engines, shift))
        for _ in range(3):  # it was pushed out long ago, and this request does not notice
            one.submit(crops, [None]).result(30)
        assert first.id in engines.slots
    assert first.id not in engines.slots
    wait_until(lambda: not one.batcher.thread.is_alive())
    with pytest.raises(EngineClosed, match=first.id):
        one.submit(crops, [None])


def test_an_engine_that_no_site_uses_is_closed_when_its_lease_ends(engines: Engines) -> None:
    old, live = adapted(engines, 0.01), adapted(engines, 0.02)
    use(engines, live)
    with engines.lease(old.id) as engine:
        engines.keep_only({live.id})
        engine.submit(np.zeros((1, 96, 48, 3), np.uint8), [None]).result(30)
    assert set(engines.slots) == {live.id}


def test_two_that_need_one_profile_wait_for_one_compilation(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiling, profile = Compiling(engines, monkeypatch), adapted(engines, 0.01)
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(use, engines, profile) for _ in range(4)]
        wait_until(lambda: compiling.started and engines.slots[profile.id].leases == 5)
        compiling.gate.set()
        answers = [future.result(30) for future in asking]
    assert compiling.started == [profile.id]
    assert all(np.array_equal(answer, answers[0]) for answer in answers)


def test_while_an_engine_is_compiled_others_answer_and_the_event_loop_runs(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiling, slow, ready = Compiling(engines, monkeypatch), adapted(engines, 0.01), adapted(engines, 0.02)
    compiling.gate.set()
    use(engines, ready)
    compiling.gate.clear()

    async def ask(profile_id: str) -> Batcher:
        async with engines.lease_async(profile_id) as engine:
            return engine.batcher

    async def main() -> None:
        waiting = asyncio.create_task(ask(slow.id))
        await asyncio.wait_for(ask(ready.id), 10)
        await asyncio.wait_for(ask(engines.base_id), 10)
        assert not waiting.done()
        impatient = asyncio.create_task(ask(slow.id))
        await asyncio.sleep(0)
        impatient.cancel()  # must not take the engine from those who still wait
        compiling.gate.set()
        assert (await asyncio.wait_for(waiting, 30)) is engines.peek(slow.id)
        with pytest.raises(asyncio.CancelledError):
            await impatient

    asyncio.run(main())
    wait_until(lambda: [slot.leases for slot in engines.slots.values()] == [0, 0])


def test_a_failed_compilation_is_heard_by_all_tried_again_and_leaves_others_alone(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiling, broken, good = Compiling(engines, monkeypatch), adapted(engines, 0.01), adapted(engines, 0.02)
    compiling.failing = {broken.id}
    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(use, engines, broken) for _ in range(2)]
        other = pool.submit(use, engines, good)
        wait_until(lambda: len(compiling.started) == 2 and engines.slots[broken.id].leases == 3)
        compiling.gate.set()
        for future in asking:
            with pytest.raises(EngineFailed, match=f"{broken.id} cannot be compiled .*does not like"):
                future.result(30)
        assert len(other.result(30)) == 1
    assert broken.id not in engines.slots
    compiling.failing = set()
    assert len(use(engines, broken)) == 1


def test_crops_that_wait_for_the_engine_of_an_adapted_site_are_counted(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, gate = adapted(engines, 0.01), threading.Event()
    with engines.lease(profile.id) as engine:
        batcher = engine.batcher
        embed = batcher.engine.embed
        monkeypatch.setattr(batcher.engine, "embed", lambda crops: gate.wait(30) and embed(crops))
        crops = np.zeros((1, 96, 48, 3), np.uint8)
        first = batcher.submit(crops)
        wait_until(lambda: batcher.queued == 0)  # the engine works on it
        second = batcher.submit(crops)
        assert engines.queued == 1
        gate.set()
        first.result(30), second.result(30)
    assert engines.queued == 0


def test_warming_goes_on_past_a_profile_that_cannot_be_compiled(engines: Engines) -> None:
    good = adapted(engines, 0.01)
    engines.warm(["bn-nowhere", good.id])
    assert set(engines.slots) == {good.id}


def test_a_profile_nobody_kept_is_an_error(engines: Engines) -> None:
    with pytest.raises(Conflict, match="not in the store"), engines.lease("bn-nowhere"):
        pass


def test_closing_answers_what_was_taken_and_then_says_that_the_server_stops(
    engines: Engines, rng: np.random.Generator
) -> None:
    crops = rng.integers(0, 255, (200, 96, 48, 3), np.uint8)
    profile = adapted(engines, 0.01)
    with engines.lease(profile.id) as engine:
        waiting = engine.submit(crops, [None] * 200, "bulk")
        engines.close()
        assert waiting.result(60).shape == (200, engines.bundle.manifest.dim)
        with pytest.raises(Stopping):
            engine.submit(crops, [None] * 200)
    with pytest.raises(Stopping), engines.lease(engines.base_id):
        pass


def test_a_compilation_that_runs_while_the_server_stops_leaves_nobody_waiting(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiling = Compiling(engines, monkeypatch)
    profiles = [adapted(engines, shift) for shift in (0.01, 0.02, 0.03)]
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(use, engines, profile) for profile in profiles]  # the third has to queue
        wait_until(lambda: len(compiling.started) == 2 and len(engines.slots) == 3)
        closing = pool.submit(engines.close)
        wait_until(lambda: engines.stopping)
        compiling.gate.set()
        closing.result(30)
        for future in asking:
            assert future.exception(30) is None or isinstance(future.exception(), Stopping)
    assert len(compiling.started) == 2  # the one that had to queue was not begun any more


@pytest.mark.parametrize(("name", "maps"), [("openvino", True), ("onnxruntime", True), ("torch", False)])
def test_the_estimate_of_an_engine_counts_feature_maps_where_they_are_kept(
    bundle: Bundle, name: str, maps: bool
) -> None:
    info = EngineInfo(name, "", "", "cpu", "")
    small, large = (engine_bytes(bundle, info, batch) for batch in (1, 33))
    assert small >= sum(4 * array.size for array in bundle.weights().values())
    assert (large > small) == maps


@pytest.mark.parametrize(("engines_that_fit", "room"), [(0.5, 1), (1.5, 1), (3.5, 3)])
def test_the_room_for_engines_is_bounded_by_bytes(
    bundle: Bundle,
    tmp_path: Path,
    engines: Engines,
    monkeypatch: pytest.MonkeyPatch,
    engines_that_fit: float,
    room: int,
) -> None:
    # An engine's bytes follow its best batch, which is measured at each start and may differ.
    monkeypatch.setattr("server.engines.best_batch", lambda *_: engines.max_batch)
    settings = Settings(
        bundle=bundle.path,
        data=tmp_path / "data",
        device="cpu",
        max_engine_bytes=int(engines.bytes_each * engines_that_fit),
    )
    bounded = Engines(bundle, settings, engines.store)
    assert bounded.room == room
    bounded.close()
