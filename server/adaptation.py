"""One adaptation: crops of a site -> a worker computes a profile -> engine -> re-embedding -> swap.

Torch runs in a process of its own (`server/worker.py`), whose memory goes back when it ends.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from reid.adaptation.sampling import MIN_CROPS
from reid.bundle import cosine
from reid.profile import Profile, ProfileError
from server.engines import Engines
from server.errors import Conflict, Unprocessable
from server.gallery.store import Store
from server.job import Declined
from server.jobs import Handle
from server.rebuild import Rebuilder
from server.reports import JobReport
from server.sampling import Sample, write_sample
from server.sites import Site
from server.work import CROPS, WorkAnswer, WorkRequest, work_folder
from server.worker_process import WorkerError, run_worker

Tier = Literal["auto", "none", "2"]
TIERS: tuple[Tier, ...] = get_args(Tier)
# Cosine of engine and torch with the new values; lower means that the engine does not compute with them.
_LOWEST_PARITY = 0.995
_PROBES = 16  # crops on which engine and torch are compared


class Adaptation:
    """One adaptation of one site.

    Args:
        tier: `2` is BNTA, `none` returns the site to the bundle's own profile, `auto` takes 2 where it can
        and declines otherwise.
        max_samples: crops that BNTA looks at. seed: of the choice of crops and the order of pairs.
    """

    def __init__(
        self,
        site: Site,
        tier: Tier,
        max_samples: int,
        seed: int,
        store: Store,
        engines: Engines,
        rebuilder: Rebuilder,
    ) -> None:
        self.site, self.tier, self.max_samples, self.seed = site, tier, max_samples, seed
        self.store, self.engines, self.rebuilder = store, engines, rebuilder

    def check(self) -> str | None:
        """What stands in the way of BNTA; None where nothing does.

        Raises Unprocessable or Conflict where the job would be pointless: a site without items or images,
        or tier 2 where BNTA cannot run.
        """
        count = self.store.items.count(self.site.name)
        if count == 0:
            raise Unprocessable(f"site {self.site.name!r} has no items to adapt to; enroll some first")
        if self.tier == "none":
            return None
        obstacle: str | None = None
        manifest = self.engines.bundle.manifest
        if not manifest.ssl_heads:
            obstacle = f"bundle {manifest.name!r} has no self-supervised heads, so BNTA cannot adapt it"
        elif count < MIN_CROPS:
            obstacle = f"site {self.site.name!r} has {count} items; BNTA needs at least {MIN_CROPS}"
        elif find_spec("torch") is None:
            obstacle = "adaptation needs torch; install it with: pip install -e '.[train]'"
        elif not len(self.store.items.cameras(self.site.name)[0]):
            raise Conflict(f"the images of site {self.site.name!r} are not kept, so it cannot be adapted")
        if obstacle and self.tier == "2":
            raise Unprocessable(obstacle)
        return obstacle

    def run(self, handle: Handle) -> None:
        """The job's work; the report grows as it goes. An attempt that was interrupted while it re-embedded
        is gone on with: its profile and embeddings are kept."""
        if self.tier == "none":
            handle.job.report.tier = "none"
            profile_id = self.engines.base_id
        else:
            profile_id = self._kept_profile(handle.job.report) or self._new_profile(handle)
        began = time.perf_counter()
        live = self.site.state.version
        version = self.rebuilder.run(
            self.site,
            profile_id,
            "adapt",
            live.version,
            handle.job.id,
            lambda share: handle.step(0.5 + share / 2, "re-embedding"),
        )
        report = handle.job.report
        report.seconds = (report.seconds or {}) | {"re-embed": round(time.perf_counter() - began, 3)}
        handle.job.version = version.version

    def _kept_profile(self, report: JobReport) -> str | None:
        """The profile that an earlier attempt of this job has computed and checked, for this bundle."""
        profile = self.store.versions.profile(report.profile) if report.profile is not None else None
        return profile.id if profile is not None and profile.base == self.engines.bundle.base_id else None

    def _new_profile(self, handle: Handle) -> str:
        """Computes, checks and keeps a profile; returns its id. Raises Declined, WorkerError."""
        handle.job.report = report = JobReport(tier=self.tier)
        obstacle = self.check()
        if obstacle:
            raise Declined(f"{obstacle}; the site keeps version {self.site.state.version.version}")
        report.tier = "2"
        with work_folder(self.engines.settings.data) as folder:
            began = time.perf_counter()
            sample = self._sample(handle, folder / CROPS)
            report.crops, report.cameras = len(sample.cameras), sample.counts
            seconds = {"sample": round(time.perf_counter() - began, 3)}
            profile, answer, probes = self._work(handle, folder, sample, seconds)
        began = time.perf_counter()
        handle.step(0.45, "compiling")
        self._install(handle, profile, answer, probes)
        seconds["compile"] = round(time.perf_counter() - began, 3)
        report.seconds = seconds
        handle.keep_report()  # an attempt that comes after a crash goes on from here
        return profile.id

    def _sample(self, handle: Handle, path: Path) -> Sample:
        sample = write_sample(
            self.store,
            self.rebuilder.embedding,
            self.site.name,
            self.max_samples,
            self.seed,
            path,
            lambda share: handle.step(0.1 * share, "choosing crops"),
        )
        if len(sample.cameras) < MIN_CROPS:
            raise Declined(
                f"only {len(sample.cameras)} of {sample.candidates} crops differ from each other; BNTA needs "
                f"{MIN_CROPS}"
            )
        return sample

    def _work(
        self, handle: Handle, folder: Path, sample: Sample, seconds: dict[str, float]
    ) -> tuple[Profile, WorkAnswer, np.ndarray]:
        """The profile, what the worker says about it, and uint8 [n,H,W,3], the crops it was probed with."""
        bundle, settings, report = self.engines.bundle, self.engines.settings, handle.job.report
        shape = (len(sample.cameras), bundle.manifest.height, bundle.manifest.width, 3)
        request = WorkRequest(
            bundle=str(bundle.path.resolve()),
            tier="2",
            seed=self.seed,
            device=settings.device,
            shape=shape,
            cameras=sample.cameras,
            probes=_PROBES,
        )
        began = time.perf_counter()
        handle.step(0.1, "starting a worker")
        answer = run_worker(
            folder,
            request,
            lambda share, stage: handle.step(0.1 + 0.35 * share, stage),
            handle.check,
            settings.adapt_silence_s,
        )
        for name, value in answer.report.items():
            if name != "seconds":
                setattr(report, name, value)
        seconds |= answer.report["seconds"]
        seconds["load"] = round(time.perf_counter() - began - sum(answer.report["seconds"].values()), 3)
        probes = np.fromfile(sample.path, np.uint8, len(answer.expected) * int(np.prod(shape[1:])))
        try:
            profile = Profile.from_bytes(answer.profile)
        except ProfileError as error:
            raise WorkerError(f"the worker's profile cannot be read: {error}") from error
        if profile.base != bundle.base_id:
            raise WorkerError(
                f"bundle {bundle.path} was changed while it was served: its base is {profile.base}, the "
                f"server's {bundle.base_id}; restart the server"
            )
        return profile, answer, probes.reshape(-1, *shape[1:])

    def _install(self, handle: Handle, profile: Profile, answer: WorkAnswer, probes: np.ndarray) -> None:
        """Keeps the profile and compiles its engine, unless its values or the engine's answers are wrong."""
        if not all(np.isfinite(values).all() for values in profile.site.values()):
            raise Declined("the adapted values are not finite")
        report = handle.job.report
        self.store.versions.save_profile(profile)
        with self.engines.lease(profile.id) as batcher:
            adapted = batcher.submit(probes, [None] * len(probes)).result()
        lowest = float(cosine(adapted, answer.expected).min())
        if lowest < _LOWEST_PARITY:
            raise Declined(
                f"the engine answers differently from torch with the adapted values (cosine {lowest:.4f})"
            )
        before = self.engines.base.submit(probes).result()
        report.profile, report.engine_parity = profile.id, round(lowest, 6)
        report.drift = round(1 - float(cosine(adapted, before).mean()), 6)
