"""A cancel in whatever stage a job names, of every tier, and a disk that fills up wherever a job writes: the
site keeps its version and its answers, and the next adaptation works. Numpy plays torch's process here;
`test_worker.py` cancels the real one."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reid.adaptation.ladder
import server.adaptation
import server.centring
import server.site_tools
import server.worker
from reid.adaptation.gate import Verdict
from reid.bundle import Bundle
from server.errors import StoreUnavailable
from server.job import Job
from server.service import Service
from server.work import CROPS, EXPECTED, Progress, WorkAnswer, WorkRequest
from server.worker_process import WorkerError, run_worker
from tests.test_adapt_ladder import COUNT, adapt, ask, ended, enroll, scores
from tests.tiny import BLOCK, embedding_of, make_tiny_bundle, open_tiny, png_of, site_profile

ACCEPTED = Verdict(True, "labels", 1.0, 0.5, 1.5, "It gains.", {})
WORKER_STAGES = ("loading torch", "comparing parts", "pairing", "adapting")  # as test_worker.py sees them
LAST_MOMENT = "the last moment"
TIERS = [("none", False), ("0", False), ("0", True), ("1+0", False), ("auto", True), ("2", False)]
TIERS += [("2+0", True), ("2+1+0", False)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle that numpy computes."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def service(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service whose sites `lobby` and `twin` hold the same 45 pictures, where tier 2 can be asked for and
    the gate takes everything."""
    opened = open_tiny(bundle, tmp_path / "data")
    opened.engines.bundle.manifest.ssl_heads = True
    monkeypatch.setattr(server.site_tools, "run_worker", worker)
    monkeypatch.setattr(reid.adaptation.ladder, "judge", lambda *arguments: ACCEPTED)
    monkeypatch.setattr(reid.adaptation.ladder, "out_of_reach", lambda *arguments: None)
    monkeypatch.setattr(server.centring, "judge", lambda *arguments: ACCEPTED)
    for site in ("lobby", "twin"):
        enroll(opened, range(COUNT), site)
    yield opened
    opened.close()


def worker(
    folder: Path, request: WorkRequest, progress: Progress, check: Callable[[], None], silence_s: float
) -> WorkAnswer:
    """Does what torch's process does, at once."""
    bundle = Bundle.load(request.bundle)
    for number, stage in enumerate(WORKER_STAGES):
        check()
        progress(number / 4, stage)
    check()
    profile = site_profile(bundle, 5)
    crops = np.fromfile(folder / CROPS, np.uint8).reshape(request.shape)[: request.probes]
    colours = crops[:, ::BLOCK, ::BLOCK]
    expected = np.stack([embedding_of(png_of(crop), profile) for crop in colours])
    report = {"device": "cpu", "pairs": 8, "seconds": {"adapt": 0.1}}
    return WorkAnswer(profile.to_bytes(), expected.astype(np.float32), report)


@contextmanager
def watched(service: Service, hear: Callable[[Job, str, float], None]) -> Iterator[None]:
    """`hear` is called with every stage that a job comes to, before anybody else hears of it."""
    real = service.jobs.change

    def change(job: Job, **values: Any) -> None:
        if values.get("stage") not in (None, "done", "cancelled", "failed", "declined", "starting"):
            hear(job, values["stage"], values["progress"])
        real(job, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.jobs, "change", change)
        yield


def stages_of(service: Service, begin: Callable[[], Job]) -> list[str]:
    """The stages of a job that succeeds, in their order."""
    seen: list[str] = []
    with watched(service, lambda job, stage, progress: seen.append(stage)):
        job = ended(service, begin())
    assert job.state == "succeeded", job.report
    return list(dict.fromkeys(seen))


def cancel_everywhere(service: Service, begin: Callable[[], Job], stages: list[str]) -> None:
    """Begins a job and cancels it, once in every stage and once in the last moment; then lets it succeed."""
    live, before = service.sites.get("lobby").state, scores(ask(service))
    for stage in (*stages, LAST_MOMENT):

        def hear(job: Job, reached: str, progress: float, stage: str = stage) -> None:
            if stage == reached or (stage == LAST_MOMENT and progress == 1.0):
                service.jobs.cancel(job.id)

        with watched(service, hear):
            job = ended(service, begin())
        assert (job.state, job.version) == ("cancelled", None), stage
        assert service.sites.get("lobby").state is live
    assert scores(ask(service)) == before
    assert ended(service, begin()).state == "succeeded"
    assert service.sites.get("lobby").state.version.version == live.version.version + 1


@pytest.mark.parametrize(("tier", "gate"), TIERS)
def test_a_cancel_in_every_stage_of_every_tier_leaves_the_site_as_it_was(
    service: Service, tier: str, gate: bool
) -> None:
    if tier == "none":
        for site in ("lobby", "twin"):
            adapt(service, "1", site, gate=False)

    def begin(site: str = "lobby") -> Job:
        return asyncio.run(service.adapting.adapt(site, tier, gate=gate))

    stages = stages_of(service, partial(begin, "twin"))
    assert "re-embedding" in stages
    assert ("adapting" in stages, "taking statistics" in stages, "centring" in stages) == (
        "2" in tier,
        "1" in tier or tier == "auto",
        "0" in tier or tier == "auto",
    )
    cancel_everywhere(service, begin, stages)


def test_a_cancel_in_every_stage_of_a_rollback_and_of_a_refit_leaves_the_site_as_it_was(
    service: Service,
) -> None:
    for site in ("lobby", "twin"):
        adapt(service, "1+0", site, gate=False)
        enroll(service, range(COUNT, COUNT + 10), site)

    def refit(site: str = "lobby") -> Job:
        return asyncio.run(service.adapting.adapt(site, refit=True))

    def roll_back(site: str = "lobby") -> Job:
        return asyncio.run(service.adapting.roll_back(site))

    for begin in (refit, roll_back):
        cancel_everywhere(service, begin, stages_of(service, partial(begin, "twin")))


def full(*arguments: Any, **named: Any) -> None:
    """What the store says when its disk is full."""
    raise StoreUnavailable("the gallery does not answer: its disk is full; free some space")


@pytest.mark.parametrize(
    "place", ["versions.save_profile", "versions.make_live", "fits.save", "embeddings.add", "jobs.save"]
)
def test_a_disk_that_is_full_when_the_store_writes_costs_the_job_alone(service: Service, place: str) -> None:
    rows, method = place.split(".")
    live, before = service.sites.get("lobby").state, scores(ask(service))
    with pytest.MonkeyPatch.context() as patch:
        job = asyncio.run(service.adapting.adapt("lobby", "2+1+0", gate=False))  # queued while there was room
        patch.setattr(getattr(service.store, rows), method, full)
        job = ended(service, job)
    assert (job.state, "its disk is full; free some space" in str(job.report.error)) == ("failed", True)
    assert service.sites.get("lobby").state is live
    assert scores(ask(service)) == before
    assert adapt(service, "2+1+0", gate=False).state == "succeeded"


def test_a_disk_that_is_full_when_crops_are_handed_to_torch_says_so(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def without_room(data: Path) -> Iterator[Path]:
        (tmp_path / CROPS).symlink_to("/dev/full")
        yield tmp_path

    live = service.sites.get("lobby").state
    monkeypatch.setattr(server.site_tools, "work_folder", without_room)
    job = adapt(service, "2", gate=False)
    assert (job.state, str(job.report.error)[:38]) == ("failed", "the disk of the data folder is full; f")
    assert service.sites.get("lobby").state is live


def test_a_disk_that_is_full_when_torch_answers_says_so(tmp_path: Path) -> None:
    answer = WorkAnswer(b"profile", np.zeros((16, 24), np.float32), {})
    (tmp_path / EXPECTED).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        answer.write(tmp_path)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(("disk_full", "raised"), [(True, OSError), (False, WorkerError)])
def test_the_server_hears_from_torchs_process_that_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk_full: bool, raised: type[Exception]
) -> None:
    told = f'{{"error": "OSError: no room", "disk_full": {str(disk_full).lower()}}}'
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho '{told}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr("server.worker_process.sys.executable", str(program))
    request = WorkRequest("bundle", "2", 0, "cpu", (16, 16, 8, 3), 16)
    with pytest.raises(raised) as caught:
        run_worker(tmp_path, request, lambda share, stage: None, lambda: None, 30)
    if isinstance(caught.value, OSError):
        assert caught.value.errno == errno.ENOSPC
