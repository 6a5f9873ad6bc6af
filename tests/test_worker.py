"""The worker process: its answer is that of the library, and however it ends, it ends alone and leaves
nothing."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from reid.adaptation.bnta import Bnta, adapt
from reid.adaptation.groups import Groups, adapt_by_groups
from reid.batchnorm import profile_from_model
from reid.bundle import Bundle
from reid.engines.pytorch import load_embedder
from reid.images import decode_crop
from reid.profile import Profile
from server.embedding import Embedding
from server.engines import Engines
from server.gallery.records import NewItem, Version
from server.gallery.store import Store
from server.sampling import write_sample
from server.settings import Settings
from server.work import CROPS, WorkRequest, clear_work_folders, work_folder
from server.worker_process import WorkerError, run_worker
from tests.workers import wait_for_worker, workers_of

People = list[tuple[bytes, str, str]]


class StopError(Exception):
    """What a cancelled job raises."""


@pytest.fixture
def crops(bundle: Bundle, people: People) -> np.ndarray:
    """uint8 [48,96,48,3]."""
    return np.stack(
        [decode_crop(data, bundle.manifest.height, bundle.manifest.width) for data, _, _ in people]
    )


@pytest.fixture
def folder(tmp_path: Path, crops: np.ndarray) -> Iterator[Path]:
    """A work folder with crops."""
    with work_folder(tmp_path) as made:
        crops.tofile(made / CROPS)
        yield made
    assert not list((tmp_path / "work").iterdir())


def request_for(bundle: Bundle, crops: np.ndarray, tier: str = "2") -> WorkRequest:
    """BNTA on every crop."""
    shape = (len(crops), *crops.shape[1:])
    return WorkRequest(str(bundle.path), tier, 3, "cpu", shape, 16)


def workers() -> list[int]:
    """Process ids of this process's workers."""
    return workers_of(os.getpid())


def after_its_start(act: Callable[[int], None]) -> None:
    """Does something to the worker of this process as soon as there is one."""

    def wait() -> None:
        pid = wait_for_worker(os.getpid())
        time.sleep(0.2)
        act(pid)

    threading.Thread(target=wait, daemon=True).start()


def ignore(share: float, stage: str) -> None:
    """No progress is shown."""


def never() -> None:
    """Nobody cancels."""


def test_the_worker_computes_what_the_library_does(folder: Path, bundle: Bundle, crops: np.ndarray) -> None:
    seen: list[tuple[float, str]] = []
    answer = run_worker(folder, request_for(bundle, crops), lambda *step: seen.append(step), never, 120)
    embedder = load_embedder(bundle)
    report = adapt(embedder, crops, Bnta(seed=3))
    profile = profile_from_model(bundle.base_id, embedder)
    computed = Profile.from_bytes(answer.profile)
    for name, values in profile.site.items():
        assert np.allclose(computed.site[name], values, atol=1e-4), name
    assert (answer.report["pairs"], answer.report["device"]) == (report.pairs, "cpu")
    assert answer.expected.shape == (16, bundle.manifest.dim)
    assert seen[0][1] == "loading torch"
    assert {"comparing parts", "pairing", "adapting"} < {stage for _, stage in seen}
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)
    assert not workers()


def test_the_worker_learns_from_groups_with_the_cameras_of_the_crops(
    folder: Path, bundle: Bundle, crops: np.ndarray, people: People
) -> None:
    crops, people = crops[:24], people[:24]  # the first of those in the folder
    cameras = [camera for _, camera, _ in people]
    request = dataclasses.replace(request_for(bundle, crops, "3"), cameras=cameras)
    seen: set[str] = set()
    answer = run_worker(folder, request, lambda share, stage: seen.add(stage), never, 120)
    embedder = load_embedder(bundle)
    report = adapt_by_groups(embedder, crops, cameras, Groups(seed=3))
    assert answer.report["groups"]["groups"][0] == report.groups[0]
    assert answer.report["groups"]["across"][0] == report.across[0] > 0
    # Adam makes a whole step of the smallest gradient, so values differ; what they were learned from does not
    np.testing.assert_allclose(answer.report["groups"]["losses"][0], report.losses[0], rtol=1e-3)
    source = bundle.profile().site
    for name, values in Profile.from_bytes(answer.profile).site.items():
        np.testing.assert_array_equal(values[2:], source[name][2:])
    assert set(answer.report) >= {"groups", "device", "seconds"}
    assert {"grouping", "learning from groups"} < seen


@pytest.mark.parametrize("stage", ["loading torch", "comparing parts", "pairing", "adapting"])
def test_it_can_be_cancelled_in_every_stage(
    folder: Path, bundle: Bundle, crops: np.ndarray, stage: str
) -> None:
    cancelled = False

    def progress(share: float, reached: str) -> None:
        nonlocal cancelled
        cancelled = cancelled or reached == stage

    def check() -> None:
        if cancelled:
            raise StopError

    with pytest.raises(StopError):
        run_worker(folder, request_for(bundle, crops), progress, check, 120)
    assert not workers()


def test_a_killed_worker_is_an_error_that_names_the_signal(
    folder: Path, bundle: Bundle, crops: np.ndarray
) -> None:
    after_its_start(lambda pid: os.kill(pid, signal.SIGKILL))
    with pytest.raises(WorkerError, match=r"killed by SIGKILL; it may have needed more memory"):
        run_worker(folder, request_for(bundle, crops), ignore, never, 120)


def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(
    folder: Path, bundle: Bundle, crops: np.ndarray
) -> None:
    """The terminal signals its own session: the server decides what becomes of its workers."""
    sessions: list[bool] = []

    def look(pid: int) -> None:
        sessions.append(os.getsid(pid) == pid)
        os.kill(pid, signal.SIGKILL)

    after_its_start(look)
    with pytest.raises(WorkerError):
        run_worker(folder, request_for(bundle, crops), ignore, never, 120)
    assert sessions == [True]


def test_a_worker_that_hangs_is_ended(folder: Path, bundle: Bundle, crops: np.ndarray) -> None:
    after_its_start(lambda pid: os.kill(pid, signal.SIGSTOP))
    with pytest.raises(WorkerError, match="reported nothing for 3 s"):
        run_worker(folder, request_for(bundle, crops), ignore, never, 3)
    assert not workers()


def test_a_failing_worker_says_why(folder: Path, bundle: Bundle, crops: np.ndarray) -> None:
    missing = WorkRequest(str(bundle.path / "moved"), "2", 0, "cpu", (48, *crops.shape[1:]), 16)
    with pytest.raises(WorkerError, match=r"BundleError: no bundle at .*moved"):
        run_worker(folder, missing, ignore, never, 120)


def test_what_a_killed_server_left_is_removed_at_start(tmp_path: Path) -> None:
    left = tmp_path / "work" / "0123"
    left.mkdir(parents=True)
    (left / CROPS).write_bytes(b"people")
    clear_work_folders(tmp_path)
    assert not left.exists()


def test_only_as_many_images_are_read_as_are_needed(
    bundle: Bundle, people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "data")
    engines = Engines(bundle, Settings(bundle=bundle.path, data=tmp_path / "data", device="cpu"), store)
    embedding = Embedding(bundle, engines, engines.settings)
    store.versions.add_site(
        Version("hall", 1, engines.base_id, "space-0", "space-0", 2, None, "created", 0.0)
    )
    for _ in range(6):
        records = [NewItem(camera, None, None, {}) for _, _, camera in people]
        images = [data for data, _, _ in people]
        store.items.enroll("hall", "space-0", records, images, np.zeros((len(people), 2)))
    read: list[int] = []
    real = store.items.images

    def counted(seqs: list[int]) -> dict[int, bytes]:
        read.extend(seqs)
        return real(seqs)

    monkeypatch.setattr(store.items, "images", counted)
    sample = write_sample(store, embedding, "hall", 16, 0, tmp_path / CROPS, lambda share: None)
    assert (len(sample.cameras), sample.counts) == (16, {"cam-0": 8, "cam-1": 8})
    assert (tmp_path / CROPS).stat().st_size == 16 * 96 * 48 * 3
    assert len(read) <= 48 < sample.candidates  # of 288
    whole = write_sample(store, embedding, "hall", 4096, 0, tmp_path / CROPS, lambda share: None)
    assert len(whole.cameras) <= 48  # the six copies of each are near-duplicates
    embedding.close()
    engines.close()
    store.close()
